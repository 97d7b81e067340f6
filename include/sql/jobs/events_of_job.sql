-- Purpose: what happened to a job, its attempts and its leases.
-- Parameters: job (bigint).
-- Grain: one row a change, the first first.
SELECT at, what, key, from_state, to_state, reason, actor FROM event WHERE job = %(job)s ORDER BY id;
