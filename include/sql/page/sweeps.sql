-- Purpose: the searches, the last first, with how far they are and the best value of each.
-- Parameters: limit, offset.
-- Grain: one row a sweep; best is of the trials that succeeded.
SELECT
    s.id, s.name, s.owner, s.state, s.reason, s.created_at, s.ended_at,
    s.spec -> 'objective' ->> 'metric' AS metric, s.spec -> 'objective' ->> 'direction' AS direction,
    s.spec -> 'budget' -> 'trials' AS budget_trials,
    count(t.job) AS trials,
    count(*) FILTER (WHERE j.state = 'running') AS running,
    count(*) FILTER (WHERE j.state IN ('queued', 'blocked')) AS waiting,
    count(*) FILTER (WHERE j.state = 'pruned') AS pruned,
    count(*) FILTER (WHERE j.state IN ('failed', 'cancelled')) AS failed,
    CASE s.spec -> 'objective' ->> 'direction'
        WHEN 'maximize' THEN max(t.value) FILTER (WHERE j.state = 'succeeded' AND abs(t.value) < 'Infinity')
        ELSE min(t.value) FILTER (WHERE j.state = 'succeeded' AND abs(t.value) < 'Infinity')
    END AS best
FROM (SELECT * FROM sweep ORDER BY id DESC LIMIT %(limit)s OFFSET %(offset)s) AS s
LEFT JOIN trial t ON t.sweep = s.id
LEFT JOIN job j ON j.id = t.job
GROUP BY s.id, s.name, s.owner, s.state, s.reason, s.created_at, s.ended_at, s.spec
ORDER BY s.id DESC;
