-- Purpose: whether a dispatcher must be started: there is work, or a search that nobody runs, and none is alive. One
-- that died without a word is not: its session has ended, and with it its advisory lock (1702454647, id).
-- Parameters: none.
-- Grain: one row: needed (boolean).
SELECT (
    EXISTS (SELECT FROM job WHERE state = 'queued' AND not_before <= clock_timestamp())
    OR EXISTS (SELECT FROM attempt WHERE ended_at IS NULL)
    OR EXISTS (SELECT FROM search_to_run)
) AND NOT EXISTS (
    SELECT
    FROM dispatcher AS d
    JOIN pg_locks AS l ON l.objid = d.id::oid AND l.classid = 1702454647 AND l.objsubid = 2
    WHERE d.ended_at IS NULL
        AND l.locktype = 'advisory'
        AND l.granted
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
) AS needed;
