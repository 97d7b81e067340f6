-- Purpose: the same as lock_now, and wait for whoever builds it now.
-- Parameters: name.
-- Grain: one row.
SELECT pg_advisory_lock(1702454648, hashtext(%(name)s) & 2147483647);
