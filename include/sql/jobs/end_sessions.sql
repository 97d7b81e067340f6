-- Purpose: end all sessions of some dispatchers but this one: frozen ones, which may hold rows locked as long as they
-- are, or an older one of our own that the server still takes for alive.
-- Parameters: dispatchers (bigint[]).
-- Grain: one row per session that was ended.
SELECT pg_terminate_backend(s.pid)
FROM pg_stat_activity s
WHERE s.datname = current_database() AND s.pid <> pg_backend_pid() AND s.usename = current_user
  AND (
    s.application_name IN (SELECT 'eyewall dispatcher ' || d FROM unnest(%(dispatchers)s::bigint[]) d)
    OR s.pid IN (
        SELECT l.pid FROM pg_locks l
        WHERE l.locktype = 'advisory' AND l.classid = 1702454647 AND l.objsubid = 2 AND l.granted
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND l.objid::bigint = ANY(%(dispatchers)s::bigint[])
    )
  );
