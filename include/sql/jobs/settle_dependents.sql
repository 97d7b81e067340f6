-- Purpose: of jobs that wait for others: queued where all of those have succeeded (waiting for them earned no place in
-- the queue), cancelled where one never will.
-- Parameters: jobs (bigint[]), held by lock_dependents in this transaction.
-- Grain: one row a job that changed: its id and new state.
WITH outlook AS (
    SELECT
        d.job, bool_and(a.state = 'succeeded') AS ready,
        min(a.id) FILTER (WHERE a.state IN ('failed', 'cancelled', 'pruned')) AS lost
    FROM job_dependency d JOIN job a ON a.id = d.after
    WHERE d.job = ANY(%(jobs)s::bigint[]) GROUP BY d.job
), readied AS (
    UPDATE job j SET state = 'queued', queued_at = clock_timestamp()
    FROM outlook o WHERE j.id = o.job AND j.state = 'blocked' AND o.ready
    RETURNING j.id, j.state
), given_up AS (
    UPDATE job j SET
        state = 'cancelled', ended_at = clock_timestamp(),
        reason = format(CASE a.state WHEN 'failed' THEN 'job %%s failed before it' ELSE 'job %%s was %%s before it' END, a.id, a.state)
    FROM outlook o JOIN job a ON a.id = o.lost WHERE j.id = o.job AND j.state = 'blocked'
    RETURNING j.id, j.state
)
SELECT id, state FROM readied UNION ALL SELECT id, state FROM given_up ORDER BY id;
