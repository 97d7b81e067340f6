-- Purpose: how a job stands, and its last attempt, as a task that waits for it tells its user.
-- Parameters: %(job)s bigint.
-- Grain: one row, none for a job that is not there; the attempt's columns are NULL before its first one.
SELECT job.state, job.reason, a.number, a.worker, a.exit_code, a.reason AS attempt_reason
FROM job
LEFT JOIN LATERAL (SELECT * FROM attempt WHERE attempt.job = job.id ORDER BY number DESC LIMIT 1) AS a ON true
WHERE job.id = %(job)s;
