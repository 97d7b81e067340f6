-- Purpose: a job that has ended goes to the end of the queue, as if it were new.
-- Parameters: job (bigint), blocked (bool).
-- Grain: one row, or none.
UPDATE job SET
    state = CASE WHEN %(blocked)s THEN 'blocked' ELSE 'queued' END, reason = '', stop = '', attempts = 0,
    ended_at = NULL, queued_at = clock_timestamp(), not_before = '-infinity'
WHERE id = %(job)s AND state IN ('succeeded', 'failed', 'cancelled', 'pruned');
