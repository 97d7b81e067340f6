-- Purpose: one program at a time makes Optuna's schema and tables; held to the end of the transaction.
-- Parameters: key.
-- Grain: one lock.
SELECT pg_advisory_xact_lock(%(key)s)
