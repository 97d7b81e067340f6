-- Purpose: values that a job printed; read again by the next dispatcher, they change nothing.
-- Parameters: attempt (bigint), token (integer); metrics (text[]), steps (bigint[]), values (float8[]), in step.
-- Grain: one row per value that is new; none where another dispatcher has the attempt.
INSERT INTO report (attempt, metric, step, value)
SELECT a.id, r.metric, r.step, r.value
FROM attempt a, unnest(%(metrics)s::text[], %(steps)s::bigint[], %(values)s::float8[]) AS r (metric, step, value)
WHERE a.id = %(attempt)s AND a.token = %(token)s AND a.ended_at IS NULL
ON CONFLICT (attempt, metric, step) DO UPDATE SET value = excluded.value, at = clock_timestamp()
    WHERE report.value IS DISTINCT FROM excluded.value;
