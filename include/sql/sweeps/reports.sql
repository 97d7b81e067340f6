-- Purpose: what jobs reported after a step; where two attempts of a job reported the same step, the later one's word.
-- Parameters: metric, jobs (bigint[]), after (bigint[]): a step for each job.
-- Grain: one row a job and step, in the order of steps.
SELECT DISTINCT ON (r.step, a.job) a.job, r.step, r.value
FROM unnest(%(jobs)s::bigint[], %(after)s::bigint[]) AS wanted (job, step)
JOIN attempt a ON a.job = wanted.job
JOIN report r ON r.attempt = a.id AND r.metric = %(metric)s AND r.step > wanted.step
WHERE r.step >= 0
ORDER BY r.step, a.job, a.number DESC
