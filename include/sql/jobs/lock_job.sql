-- Purpose: a job, held still while something is done to it.
-- Parameters: job (bigint).
-- Grain: one row, or none.
SELECT state, stop FROM job WHERE id = %(job)s FOR UPDATE;
