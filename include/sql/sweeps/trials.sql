-- Purpose: the jobs of some trials.
-- Parameters: sweep, numbers (integer[]).
-- Grain: one row a trial that has a job.
SELECT t.number, t.job, j.state, j.stop, j.reason, t.params
FROM trial t JOIN job j ON j.id = t.job
WHERE t.sweep = %(sweep)s AND t.number = ANY (%(numbers)s)
ORDER BY t.number
