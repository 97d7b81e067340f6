-- Purpose: attempts that have ended, whose container, pod or folder may still be there because their dispatcher died.
-- Parameters: dispatcher (bigint), us; watched (bigint[]), attempts that we look after; workers (text[]), in our reach.
-- Grain: one row per attempt.
SELECT a.id
FROM attempt a JOIN dispatcher d ON d.id = a.dispatcher JOIN worker w ON w.name = a.worker AND w.state <> 'unreachable'
WHERE a.ended_at IS NOT NULL AND a.cleared_at IS NULL AND a.worker = ANY(%(workers)s::text[])
  AND NOT a.id = ANY(%(watched)s::bigint[])
  AND (
    d.id = %(dispatcher)s OR d.ended_at IS NOT NULL OR NOT EXISTS (
        SELECT FROM pg_locks l
        WHERE l.locktype = 'advisory' AND l.classid = 1702454647 AND l.objsubid = 2 AND l.granted
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.objid::bigint = d.id
    )
  )
ORDER BY a.id LIMIT 100;
