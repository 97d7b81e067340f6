-- Purpose: every waiting job's place, after the ageing interval changed (the trigger job_place computes it).
-- Parameters: none.
-- Grain: one row a job that waits.
UPDATE job SET queued_at = queued_at WHERE state IN ('blocked', 'queued');
