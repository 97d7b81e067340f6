-- Purpose: one job, with what it waits for. Of its variables the names alone: a value may be somebody's secret.
-- Parameters: job.
-- Grain: one row; none for a job that is not there.
SELECT
    j.id, j.key, j.name, j.owner, j.environment, j.command, j.code, j.data, j.gpus, j.generations, j.memory_mb, j.priority,
    j.max_s, j.max_attempts, j.state, j.reason, j.stop, j.submitted_at, j.queued_at, j.ended_at,
    nullif(j.not_before, '-infinity') AS not_before,
    ARRAY(SELECT jsonb_object_keys(j.variables) ORDER BY 1) AS variables,
    CASE WHEN j.state IN ('queued', 'blocked') THEN (SELECT q.why FROM queue_order q WHERE q.job = j.id) END AS why,
    t.sweep, t.number AS trial, s.name AS sweep_name,
    coalesce((
        SELECT jsonb_agg(jsonb_build_object('id', b.id, 'name', b.name, 'state', b.state) ORDER BY b.id)
        FROM job_dependency d JOIN job b ON b.id = d.after WHERE d.job = j.id
    ), '[]') AS after
FROM job j
LEFT JOIN trial t ON t.job = j.id
LEFT JOIN sweep s ON s.id = t.sweep
WHERE j.id = %(job)s;
