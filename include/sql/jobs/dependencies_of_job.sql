-- Purpose: what a job comes after.
-- Parameters: job (bigint).
-- Grain: one row a dependency.
SELECT after FROM job_dependency WHERE job = %(job)s ORDER BY after;
