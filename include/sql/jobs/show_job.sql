-- Purpose: one job with all that was asked for and how it stands. Of its variables the names alone: a value may be
-- somebody's secret.
-- Parameters: job (bigint).
-- Grain: one row, or none.
SELECT
    s.*, j.key, j.code, j.data, j.generations, j.memory_mb, j.max_s, j.max_attempts,
    ARRAY(SELECT jsonb_object_keys(j.variables) ORDER BY 1) AS variables,
    ARRAY(SELECT d.after FROM job_dependency d WHERE d.job = j.id ORDER BY 1) AS after
FROM job_status s JOIN job j ON j.id = s.id WHERE s.id = %(job)s;
