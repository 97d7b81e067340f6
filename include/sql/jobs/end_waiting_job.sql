-- Purpose: a job that has not begun ends.
-- Parameters: job (bigint), state (cancelled or pruned), reason (text).
-- Grain: one row, or none.
UPDATE job SET state = %(state)s, reason = %(reason)s, ended_at = clock_timestamp()
WHERE id = %(job)s AND state IN ('blocked', 'queued');
