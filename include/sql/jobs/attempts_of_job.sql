-- Purpose: the attempts of a job.
-- Parameters: job (bigint).
-- Grain: one row an attempt, the first first.
SELECT number, worker, state, exit_code, reason, claimed_at, started_at, ended_at, image
FROM attempt WHERE job = %(job)s ORDER BY number;
