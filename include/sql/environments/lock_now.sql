-- Purpose: be the only one that builds an environment; the lock goes with the session, so a killed build frees it.
-- Parameters: name.
-- Grain: one row: whether the lock is ours.
SELECT pg_try_advisory_lock(1702454648, hashtext(%(name)s) & 2147483647);
