-- Purpose: ask a running job to end; being cancelled is more than being pruned, and stays.
-- Parameters: job (bigint), stop (cancelled or pruned), reason (text).
-- Grain: one row, or none.
UPDATE job SET stop = %(stop)s, reason = CASE WHEN %(reason)s = '' THEN reason ELSE %(reason)s END
WHERE id = %(job)s AND state = 'running' AND stop <> 'cancelled';
