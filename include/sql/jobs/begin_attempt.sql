-- Purpose: an attempt is ours still, and its job is about to be started, unless it was asked to stop meanwhile.
-- Parameters: attempt (bigint), token (integer).
-- Grain: one row: what the job was asked to stop as; none where the attempt has ended or another dispatcher has it.
UPDATE attempt a SET
    state = CASE j.stop WHEN '' THEN 'running' ELSE a.state END,
    started_at = CASE j.stop WHEN '' THEN coalesce(a.started_at, clock_timestamp()) ELSE a.started_at END
FROM job j
WHERE a.id = %(attempt)s AND a.token = %(token)s AND a.ended_at IS NULL AND j.id = a.job
RETURNING j.stop;
