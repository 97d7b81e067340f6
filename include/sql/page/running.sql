-- Purpose: the jobs that run now, the ones started last first, with where they run.
-- Parameters: limit, offset.
-- Grain: one row a running job.
SELECT
    j.id, j.name, j.owner, j.environment, j.command, j.gpus, j.priority, j.max_s, j.stop, a.id AS attempt_id,
    a.number AS attempt, j.max_attempts, a.state AS attempt_state, a.worker, a.claimed_at, a.started_at,
    t.sweep, t.number AS trial,
    ARRAY(
        SELECT g.number FROM lease l JOIN gpu g ON g.id = l.gpu
        WHERE l.attempt = a.id AND l.released_at IS NULL ORDER BY g.number
    ) AS gpu_numbers
FROM job j
JOIN attempt a ON a.job = j.id AND a.ended_at IS NULL
LEFT JOIN trial t ON t.job = j.id
WHERE j.state = 'running'
ORDER BY a.claimed_at DESC, j.id DESC
LIMIT %(limit)s OFFSET %(offset)s;
