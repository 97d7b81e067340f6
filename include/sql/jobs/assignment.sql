-- Purpose: all that a runner needs to know of an attempt.
-- Parameters: attempt (bigint).
-- Grain: one row.
SELECT
    a.id AS attempt, a.job, a.number, a.token, j.command, j.owner, j.environment, a.image, e.folder, j.code, j.data,
    j.variables, j.max_s, j.priority, w.name, w.kind, w.url, w.options,
    extract(epoch FROM a.claimed_at)::float8 AS claimed_s,
    (
        SELECT jsonb_agg(jsonb_build_object('number', g.number, 'uuid', g.uuid, 'declared', g.declared, 'memory_mb', g.memory_mb)
                         ORDER BY g.number)
        FROM lease l JOIN gpu g ON g.id = l.gpu WHERE l.attempt = a.id
    ) AS gpus
FROM attempt a
JOIN job j ON j.id = a.job
JOIN environment e ON e.name = j.environment
JOIN worker w ON w.name = a.worker
WHERE a.id = %(attempt)s;
