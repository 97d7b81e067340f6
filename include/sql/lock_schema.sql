-- Purpose: one migration at a time, whoever starts it; released at the end of the transaction.
-- Parameters: key (bigint), the same for all who migrate this schema.
-- Grain: one row.
SELECT pg_advisory_xact_lock(%(key)s);
