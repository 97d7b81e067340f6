-- Purpose: a dispatcher lives, and so do the leases of its attempts. A lease that somebody has locked is being released.
-- Parameters: dispatcher (bigint).
-- Grain: one row per live attempt that is this dispatcher's: attempt, token, and what its job was asked to stop as.
WITH mine AS MATERIALIZED (
    SELECT a.id, a.token, a.job FROM attempt a WHERE a.dispatcher = %(dispatcher)s AND a.ended_at IS NULL
), held AS (
    SELECT l.id FROM lease l JOIN mine ON mine.id = l.attempt
    WHERE l.released_at IS NULL FOR UPDATE OF l SKIP LOCKED
), renewed AS (
    UPDATE lease SET heartbeat_at = clock_timestamp(), expires_at = clock_timestamp() + p.lease
    FROM held, queue_policy p WHERE lease.id = held.id
), alive AS (
    UPDATE dispatcher SET heartbeat_at = clock_timestamp() WHERE id = %(dispatcher)s
)
SELECT mine.id AS attempt, mine.token, job.stop FROM mine JOIN job ON job.id = mine.job;
