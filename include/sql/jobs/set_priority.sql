-- Purpose: a job's priority; the trigger job_place moves it in the queue.
-- Parameters: job (bigint), priority (smallint).
-- Grain: one row, or none.
UPDATE job SET priority = %(priority)s WHERE id = %(job)s AND priority <> %(priority)s;
