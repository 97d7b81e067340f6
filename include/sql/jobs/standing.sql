-- Purpose: how an attempt of ours stands.
-- Parameters: attempt (bigint), token (integer).
-- Grain: one row: state, what its job was asked to stop as, seconds since it started (0 before); none where the attempt
-- has ended or another dispatcher has it.
SELECT a.state, j.stop, greatest(0, coalesce(extract(epoch FROM clock_timestamp() - a.started_at), 0))::float8
FROM attempt a JOIN job j ON j.id = a.job
WHERE a.id = %(attempt)s AND a.token = %(token)s AND a.ended_at IS NULL;
