-- Purpose: the trials of a search with their ends and how far each came.
-- Parameters: sweep.
-- Grain: one row a trial, in the order of their numbers.
SELECT
    t.number, t.job, j.state, j.reason, t.value, t.params, last.step, last.value AS last_value,
    j.submitted_at, j.ended_at
FROM trial t
JOIN sweep s ON s.id = t.sweep
JOIN job j ON j.id = t.job
LEFT JOIN LATERAL (
    SELECT r.step, r.value
    FROM attempt a JOIN report r ON r.attempt = a.id
    WHERE a.job = t.job AND r.metric = s.spec -> 'objective' ->> 'metric'
    ORDER BY r.step DESC, a.number DESC LIMIT 1
) AS last ON true
WHERE t.sweep = %(sweep)s
ORDER BY t.number
