-- Purpose: which of some jobs will not change any more. One that is not there will not either.
-- Parameters: %(ids)s bigint[].
-- Grain: one row per such job: id, state ('gone' for one that is not there).
SELECT wanted.id, coalesce(job.state, 'gone') AS state
FROM unnest(%(ids)s::bigint[]) AS wanted (id)
LEFT JOIN job ON job.id = wanted.id
WHERE job.id IS NULL OR job.state IN ('succeeded', 'failed', 'cancelled', 'pruned');
