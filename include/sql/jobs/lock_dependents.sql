-- Purpose: the jobs that wait for one that has ended, held still, so that of two that end at once the later one sees
-- the other's end.
-- Parameters: job (bigint).
-- Grain: one row a dependent.
SELECT d.id FROM job d
WHERE d.id IN (SELECT job FROM job_dependency WHERE after = %(job)s) AND d.state = 'blocked'
ORDER BY d.id FOR UPDATE;
