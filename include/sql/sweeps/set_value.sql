-- Purpose: the objective of a trial, once it has one.
-- Parameters: job, value.
-- Grain: one row.
UPDATE trial SET value = %(value)s WHERE job = %(job)s
