-- Purpose: a refused file of the store enters the catalogue, or its reason is brought up to date.
-- Parameters: path, stream (text), reason (jsonb).
-- Grain: one row.
INSERT INTO quarantined_file (path, stream, reason)
VALUES (%(path)s, %(stream)s, %(reason)s)
ON CONFLICT (path) DO UPDATE
SET stream = excluded.stream, reason = excluded.reason;
