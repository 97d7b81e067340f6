-- Purpose: the job that has this key already, as it was submitted.
-- Parameters: key (text).
-- Grain: one row, or none.
SELECT
    j.id, j.name, j.owner, j.environment, j.command, j.code, j.data, j.variables,
    j.gpus, j.generations, j.memory_mb, j.max_s, j.max_attempts,
    ARRAY(SELECT d.after FROM job_dependency d WHERE d.job = j.id ORDER BY d.after) AS after
FROM job j WHERE j.key = %(key)s;
