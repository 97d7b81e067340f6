-- Purpose: take a worker's attempts away from whoever watches them: the host is said to be lost.
-- Parameters: worker (text).
-- Grain: one row an attempt that had not ended: its id and new token.
UPDATE attempt SET token = token + 1 WHERE worker = %(worker)s AND ended_at IS NULL RETURNING id, token;
