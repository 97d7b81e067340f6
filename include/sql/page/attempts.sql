-- Purpose: the attempts of one job, the last first.
-- Parameters: job, limit.
-- Grain: one row an attempt.
SELECT
    a.id, a.number, a.worker, a.state, a.reason, a.exit_code, a.image, a.claimed_at, a.started_at, a.ended_at,
    ARRAY(
        SELECT DISTINCT g.number FROM lease l JOIN gpu g ON g.id = l.gpu WHERE l.attempt = a.id ORDER BY g.number
    ) AS gpu_numbers
FROM attempt a
WHERE a.job = %(job)s
ORDER BY a.number DESC
LIMIT %(limit)s;
