-- Purpose: bind a job to its trial; harmless twice.
-- Parameters: job, sweep, number, params (jsonb).
-- Grain: one row of the job; none where the trial has one already.
INSERT INTO trial (job, sweep, number, params) VALUES (%(job)s, %(sweep)s, %(number)s, %(params)s)
ON CONFLICT DO NOTHING
RETURNING job
