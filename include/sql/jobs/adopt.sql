-- Purpose: take over live attempts that nobody looks after: of a dispatcher that ended or died (its advisory lock is
-- free), of one that is frozen (a lease has expired), and our own that we do not know of (the server went away between
-- the commit of a claim and its answer). Just after a start of the server no dispatcher has its lock back: they get 5 s.
-- Parameters: dispatcher (bigint), us; watched (bigint[]), attempts that we watch; workers (text[]), those in our reach.
-- Grain: one row per attempt taken: attempt, whose it was, and whether that one seems frozen.
WITH locks AS MATERIALIZED (
    SELECT l.objid::bigint AS dispatcher FROM pg_locks l
    WHERE l.locktype = 'advisory' AND l.classid = 1702454647 AND l.objsubid = 2 AND l.granted
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
), orphan AS (
    SELECT a.id, d.id AS of, d.id <> %(dispatcher)s AND EXISTS (SELECT FROM locks WHERE locks.dispatcher = d.id) AS frozen
    FROM attempt a JOIN dispatcher d ON d.id = a.dispatcher
    WHERE a.ended_at IS NULL AND a.worker = ANY(%(workers)s::text[])
      AND CASE WHEN d.id = %(dispatcher)s THEN NOT a.id = ANY(%(watched)s::bigint[])
          ELSE d.ended_at IS NOT NULL
            OR NOT EXISTS (SELECT FROM locks WHERE locks.dispatcher = d.id)
               AND clock_timestamp() - pg_postmaster_start_time() > '5 s'
            OR EXISTS (SELECT FROM lease l WHERE l.attempt = a.id AND l.released_at IS NULL AND l.expires_at < clock_timestamp())
          END
    FOR UPDATE OF a SKIP LOCKED
), taken AS (
    UPDATE attempt SET dispatcher = %(dispatcher)s, token = attempt.token + 1
    FROM orphan WHERE attempt.id = orphan.id
    RETURNING attempt.id, orphan.of, orphan.frozen
), renewed AS (
    UPDATE lease SET heartbeat_at = clock_timestamp(), expires_at = clock_timestamp() + p.lease
    FROM taken, queue_policy p WHERE lease.attempt = taken.id AND lease.released_at IS NULL
)
SELECT id AS attempt, of, frozen FROM taken ORDER BY id;
