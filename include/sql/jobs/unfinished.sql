-- Purpose: whether anything waits or runs.
-- Parameters: none.
-- Grain: one row: boolean.
SELECT EXISTS (SELECT FROM job WHERE state IN ('queued', 'running'));
