-- Purpose: every search with what became of its trials, and its best value.
-- Parameters: none.
-- Grain: one row a search, newest first.
SELECT
    s.name, s.owner, s.state, s.reason, s.created_at, s.ended_at,
    s.spec -> 'objective' ->> 'metric' AS metric,
    count(t.job) AS trials,
    count(*) FILTER (WHERE j.state = 'succeeded') AS succeeded,
    count(*) FILTER (WHERE j.state = 'pruned') AS pruned,
    count(*) FILTER (WHERE j.state IN ('failed', 'cancelled')) AS failed,
    count(*) FILTER (WHERE j.state IN ('blocked', 'queued', 'running')) AS live,
    CASE s.spec -> 'objective' ->> 'direction'
        WHEN 'maximize' THEN max(t.value) FILTER (WHERE j.state = 'succeeded')
        ELSE min(t.value) FILTER (WHERE j.state = 'succeeded')
    END AS best
FROM sweep s
LEFT JOIN trial t ON t.sweep = s.id
LEFT JOIN job j ON j.id = t.job
GROUP BY s.id
ORDER BY s.id DESC
