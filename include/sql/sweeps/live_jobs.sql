-- Purpose: jobs of a search that have no end yet.
-- Parameters: sweep.
-- Grain: one row a job.
SELECT t.job FROM trial t JOIN job j ON j.id = t.job
WHERE t.sweep = %(sweep)s AND j.state IN ('blocked', 'queued', 'running')
ORDER BY t.number
