-- Purpose: whose job it is.
-- Parameters: job (bigint).
-- Grain: one row, or none.
SELECT owner FROM job WHERE id = %(job)s;
