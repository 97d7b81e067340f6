-- Purpose: which of some jobs will not change any more. One that is not there will not either.
-- Parameters: %(jobs)s bigint[].
-- Grain: one row per such job: job, state ('gone' for one that is not there).
SELECT wanted.job, coalesce(job.state, 'gone') AS state
FROM unnest(%(jobs)s::bigint[]) AS wanted (job)
LEFT JOIN job ON job.id = wanted.job
WHERE job.id IS NULL OR job.state IN ('succeeded', 'failed', 'cancelled', 'pruned');
