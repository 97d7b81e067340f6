-- Purpose: the job that a task of Airflow asked for, where it has not ended.
-- Parameters: key.
-- Grain: one row, or none.
SELECT id FROM job WHERE key = %(key)s AND state IN ('blocked', 'queued', 'running')
