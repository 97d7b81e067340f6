-- Purpose: which attempts a job had, and how they stand.
-- Parameters: job (bigint).
-- Grain: one row per attempt: number, state, reason.
SELECT number, state, reason FROM attempt WHERE job = %(job)s ORDER BY number;
