-- Purpose: one search. Of what was asked for, not the job: its variables may be somebody's secrets.
-- Parameters: sweep.
-- Grain: one row; none for a sweep that is not there.
SELECT
    s.id, s.name, s.owner, s.state, s.reason, s.created_at, s.ended_at,
    s.spec -> 'objective' ->> 'metric' AS metric, s.spec -> 'objective' ->> 'direction' AS direction,
    s.spec -> 'budget' AS budget, s.spec -> 'sampler' ->> 'kind' AS sampler, s.spec -> 'pruner' ->> 'kind' AS pruner,
    coalesce(s.spec -> 'parameters', '{}') AS parameters
FROM sweep s
WHERE s.id = %(sweep)s;
