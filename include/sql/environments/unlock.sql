-- Purpose: let others build the environment.
-- Parameters: name.
-- Grain: one row.
SELECT pg_advisory_unlock(1702454648, hashtext(%(name)s) & 2147483647);
