-- Purpose: whether an attempt has ended, whoever saw to that.
-- Parameters: attempt (bigint).
-- Grain: one row: boolean.
SELECT ended_at IS NOT NULL FROM attempt WHERE id = %(attempt)s;
