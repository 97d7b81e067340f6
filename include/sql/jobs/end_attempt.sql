-- Purpose: an attempt ends: its GPUs are free again, and its job ends, or goes back to its place in the queue.
-- Whoever asked the job to stop decides how it is called; a lost attempt, or one that ends with 75 (a failure that
-- time may mend), is followed by another, as long as the job has any left.
-- Parameters: attempt, token (of whoever watches it), state (how the attempt ended), exit_code, reason.
-- Grain: one row, the job and its new state; none where another dispatcher has taken the attempt over.
WITH held AS MATERIALIZED (
    SELECT g.id FROM gpu g WHERE g.held_by = %(attempt)s ORDER BY g.id FOR UPDATE
), ended AS (
    UPDATE attempt a SET
        state = CASE WHEN j.stop <> '' AND %(state)s IN ('succeeded', 'failed') THEN j.stop ELSE %(state)s END,
        exit_code = %(exit_code)s, reason = %(reason)s, ended_at = clock_timestamp()
    FROM job j
    WHERE a.id = %(attempt)s AND a.token = %(token)s AND a.ended_at IS NULL AND j.id = a.job
      AND (SELECT count(*) FROM held) >= 0
    RETURNING
        a.id, a.job, a.state, j.stop,
        -- Of this transaction: who acts, for the table event; and the end is on disk before anything is removed.
        set_config('eyewall.actor', 'dispatcher ' || a.dispatcher, true), set_config('synchronous_commit', 'on', true)
), released AS (
    UPDATE lease SET released_at = clock_timestamp() FROM ended
    WHERE lease.attempt = ended.id AND lease.released_at IS NULL
), judged AS (
    SELECT
        e.job,
        CASE
            WHEN e.stop <> '' THEN e.stop
            WHEN (e.state = 'lost' OR (e.state = 'failed' AND %(exit_code)s IS NOT DISTINCT FROM 75)) AND j.attempts < j.max_attempts THEN 'queued'
            WHEN e.state = 'lost' THEN 'failed'
            ELSE e.state
        END AS state,
        CASE WHEN e.state = 'failed' THEN p.retry * j.attempts ELSE '0' END AS delay
    FROM ended e JOIN job j ON j.id = e.job, queue_policy p
)
UPDATE job SET
    state = d.state,
    reason = CASE WHEN job.stop <> '' AND job.reason <> '' THEN job.reason ELSE %(reason)s END,
    ended_at = CASE WHEN d.state = 'queued' THEN NULL ELSE clock_timestamp() END,
    not_before = clock_timestamp() + d.delay
FROM judged d
WHERE job.id = d.job AND job.state = 'running'
RETURNING job.id, job.state;
