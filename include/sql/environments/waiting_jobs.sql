-- Purpose: who would be left without an environment if it were removed.
-- Parameters: name.
-- Grain: one row: number of jobs that wait or run.
SELECT count(*) FROM job WHERE environment = %(name)s AND state IN ('blocked', 'queued', 'running');
