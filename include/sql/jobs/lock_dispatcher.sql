-- Purpose: this session holds the dispatcher's lock from now on, and says that it lives as long as the session does.
-- Parameters: dispatcher (bigint).
-- Grain: one row: whether it has the lock; false where an older session of the same dispatcher has it still.
WITH locked AS MATERIALIZED (
    SELECT pg_try_advisory_lock(1702454647, %(dispatcher)s::integer) AS got
), known AS (
    UPDATE dispatcher SET backend_pid = pg_backend_pid(), heartbeat_at = clock_timestamp(), ended_at = NULL
    FROM locked WHERE dispatcher.id = %(dispatcher)s AND locked.got
)
SELECT got FROM locked;
