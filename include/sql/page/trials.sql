-- Purpose: the trials of one search, in the order they were asked for, with how far each came.
-- Parameters: sweep, limit.
-- Grain: one row a trial; a value that is no finite number is NULL. step, last_value: what it reported last.
SELECT
    t.number, t.job, t.params, j.state, j.reason, a.id AS attempt_id, a.started_at, a.ended_at, r.step,
    CASE WHEN j.state = 'succeeded' AND abs(t.value) < 'Infinity' THEN t.value END AS value,
    CASE WHEN abs(r.value) < 'Infinity' THEN r.value END AS last_value
FROM trial t
JOIN sweep s ON s.id = t.sweep
JOIN job j ON j.id = t.job
LEFT JOIN LATERAL (SELECT * FROM attempt WHERE attempt.job = j.id ORDER BY number DESC LIMIT 1) AS a ON true
LEFT JOIN LATERAL (
    SELECT report.step, report.value FROM report
    WHERE report.attempt = a.id AND report.metric = s.spec -> 'objective' ->> 'metric' ORDER BY report.step DESC LIMIT 1
) AS r ON true
WHERE t.sweep = %(sweep)s
ORDER BY t.number
LIMIT %(limit)s;
