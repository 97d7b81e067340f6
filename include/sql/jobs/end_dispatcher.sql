-- Purpose: a dispatcher ends; what still runs may be taken over at once.
-- Parameters: dispatcher (bigint).
-- Grain: one row.
UPDATE dispatcher SET ended_at = clock_timestamp(), heartbeat_at = clock_timestamp()
WHERE id = %(dispatcher)s RETURNING id;
