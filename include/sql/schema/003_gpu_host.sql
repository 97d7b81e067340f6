-- Purpose: a worker that is a cluster has many hosts. Each GPU says which of them it is in, so that a job of several gets
-- them in one, and so that one host is emptied for it and not all of them.

ALTER TABLE gpu ADD COLUMN host text COLLATE "C" NOT NULL DEFAULT '';
COMMENT ON COLUMN gpu.host IS 'The node of a cluster; empty where the worker is one machine.';
ALTER TABLE worker ADD COLUMN reserved_host text COLLATE "C" NOT NULL DEFAULT '';
COMMENT ON COLUMN worker.reserved_host IS 'Which of the worker''s hosts is reserved for the job reserved_for.';

CREATE OR REPLACE FUNCTION drop_reservation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'job' THEN
        UPDATE worker SET reserved_for = NULL WHERE reserved_for = NEW.id;
    ELSIF TG_TABLE_NAME = 'worker' THEN
        UPDATE worker SET reserved_for = NULL WHERE name = NEW.name AND reserved_for IS NOT NULL;
    ELSE
        UPDATE worker SET reserved_for = NULL
        WHERE name = NEW.worker AND reserved_host = NEW.host AND reserved_for IS NOT NULL;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE VIEW hindrance AS
WITH demand AS MATERIALIZED (
    SELECT DISTINCT gpus, memory_mb, generations, environment FROM job WHERE state = 'queued'
), device AS MATERIALIZED (
    SELECT
        g.worker, g.host, w.kind, w.state AS worker_state,
        CASE WHEN g.host = w.reserved_host THEN w.reserved_for END AS reserved_for,
        g.generation, g.memory_mb, g.state, g.held_by
    FROM gpu g JOIN worker w ON w.name = g.worker
    WHERE g.state <> 'gone' AND w.state <> 'removed'
), host AS (
    SELECT
        d.gpus, d.memory_mb, d.generations, d.environment, v.worker, min(v.worker_state) AS worker_state,
        CASE min(v.kind) WHEN 'process' THEN min(e.folder) ELSE min(e.image) END IS NOT NULL AS can_run,
        min(v.reserved_for) AS reserved_for,
        count(*) AS n_there, count(*) FILTER (WHERE v.state = 'ok') AS n_ok,
        count(*) FILTER (WHERE v.state = 'ok' AND v.held_by IS NULL) AS n_free
    FROM demand d JOIN environment e ON e.name = d.environment JOIN device v
        ON v.memory_mb >= d.memory_mb AND (d.generations = '{}' OR v.generation = ANY(d.generations))
    GROUP BY d.gpus, d.memory_mb, d.generations, d.environment, v.worker, v.host
), best AS (
    SELECT
        d.gpus, d.memory_mb, d.generations, d.environment,
        coalesce(bool_or(h.n_there >= d.gpus), false) AS there,
        coalesce(bool_or(h.n_there >= d.gpus AND h.can_run), false) AS can_run,
        coalesce(bool_or(h.n_there >= d.gpus AND h.can_run AND h.worker_state = 'up'), false) AS up,
        coalesce(bool_or(h.n_ok >= d.gpus AND h.can_run AND h.worker_state = 'up'), false) AS ok,
        coalesce(bool_or(h.n_free >= d.gpus AND h.can_run AND h.worker_state = 'up'), false) AS free,
        coalesce(bool_or(h.n_free >= d.gpus AND h.can_run AND h.worker_state = 'up' AND h.reserved_for IS NULL), false) AS fits,
        min(h.reserved_for) FILTER (WHERE h.n_free >= d.gpus AND h.can_run AND h.worker_state = 'up') AS reserved_for,
        string_agg(DISTINCT h.worker || ' is ' || h.worker_state, ', ')
            FILTER (WHERE h.n_there >= d.gpus AND h.can_run AND h.worker_state <> 'up') AS away
    FROM demand d LEFT JOIN host h USING (gpus, memory_mb, generations, environment)
    GROUP BY d.gpus, d.memory_mb, d.generations, d.environment
)
SELECT
    b.gpus, b.memory_mb, b.generations, b.environment, b.fits,
    CASE
        WHEN e.state = 'building' THEN format('environment %s is being built', e.name)
        WHEN e.state = 'failed' THEN format('environment %s could not be built: see `eyewall env build %s`', e.name, e.name)
        WHEN e.state <> 'built' THEN format('environment %s is not built: see `eyewall env build %s`', e.name, e.name)
        WHEN NOT EXISTS (SELECT FROM device) THEN 'no worker has any GPU: see `eyewall worker add`'
        WHEN NOT b.there AND b.gpus > 1 THEN format('no worker has %s on one host', w.wanted)
        WHEN NOT b.there THEN format('no worker has %s', w.wanted)
        WHEN NOT b.can_run THEN format('environment %s is not built for such a worker: it has no %s', e.name, CASE WHEN e.image IS NULL THEN 'image' ELSE 'folder' END)
        WHEN NOT b.up THEN format('worker %s', b.away)
        WHEN NOT b.ok THEN 'such GPUs have failed, or somebody else uses them'
        WHEN NOT b.free AND b.gpus > 1 THEN format('no worker has %s free on one host', w.wanted)
        WHEN NOT b.free THEN format('all %s are busy', w.wanted)
        WHEN NOT b.fits THEN format('free ones are kept for job %s', b.reserved_for)
        WHEN NOT EXISTS (SELECT FROM dispatcher i WHERE i.ended_at IS NULL AND i.heartbeat_at > clock_timestamp() - p.lease)
            THEN 'no dispatcher is running: see `eyewall job dispatch`'
        ELSE ''
    END AS why
FROM best b
JOIN environment e ON e.name = b.environment
CROSS JOIN queue_policy p
CROSS JOIN LATERAL (
    SELECT concat_ws(
        ' ',
        CASE WHEN b.gpus > 1 THEN b.gpus::text END, nullif(array_to_string(b.generations, ' or '), ''), 'GPUs',
        CASE WHEN b.memory_mb > 0 THEN format('of %s GiB', round(b.memory_mb / 1024.0, 1)) END
    ) AS wanted
) w;

CREATE OR REPLACE VIEW queue_order AS
WITH share AS MATERIALIZED (
    SELECT g.held_owner AS owner, least(p.share_cap, count(*) * p.share_penalty) AS penalty
    FROM gpu g CROSS JOIN queue_policy p WHERE g.held_by IS NOT NULL GROUP BY g.held_owner, p.share_cap, p.share_penalty
), queued AS (
    SELECT
        row_number() OVER (ORDER BY j.order_at + coalesce(s.penalty, '0'), j.id) AS position,
        j.id, j.owner, j.name, j.state, j.priority, j.gpus, j.queued_at,
        j.order_at + coalesce(s.penalty, '0') AS score, coalesce(s.penalty, '0') AS penalty,
        CASE
            WHEN j.not_before > clock_timestamp()
                THEN format('tried again at %s UTC', to_char(j.not_before AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'))
            WHEN w.name IS NOT NULL
                THEN format('host %s is being emptied for it', concat_ws('/', w.name, nullif(w.reserved_host, '')))
            WHEN h.why = '' THEN 'about to start'
            ELSE h.why
        END AS why
    FROM job j
    LEFT JOIN share s ON s.owner = j.owner
    LEFT JOIN worker w ON w.reserved_for = j.id
    LEFT JOIN hindrance h ON h.gpus = j.gpus AND h.memory_mb = j.memory_mb AND h.generations = j.generations
        AND h.environment = j.environment
    WHERE j.state = 'queued'
)
SELECT position, id AS job, owner, name, state, priority, gpus, queued_at, score, penalty, why FROM queued
UNION ALL
SELECT
    NULL, j.id, j.owner, j.name, j.state, j.priority, j.gpus, NULL, NULL, NULL,
    (
        SELECT 'after ' || string_agg(format('job %s (%s)', a.id, a.state), ', ' ORDER BY a.id)
        FROM job_dependency d JOIN job a ON a.id = d.after WHERE d.job = j.id AND a.state <> 'succeeded'
    )
FROM job j WHERE j.state = 'blocked';

CREATE OR REPLACE VIEW gpu_occupancy AS
SELECT
    g.worker, w.kind, w.state AS worker_state,
    CASE WHEN g.host = w.reserved_host THEN w.reserved_for END AS reserved_for, g.number, g.uuid, g.model, g.generation, g.memory_mb, g.declared,
    CASE WHEN g.held_by IS NOT NULL THEN 'busy' WHEN g.state = 'ok' THEN 'free' ELSE g.state END AS state,
    CASE WHEN g.state <> 'ok' THEN g.reason WHEN w.state <> 'up' THEN w.reason ELSE '' END AS reason,
    j.id AS job, j.name, j.owner, a.number AS attempt, a.state AS attempt_state, l.granted_at AS since,
    l.expires_at AS lease_until, l.expires_at < clock_timestamp() AS lease_expired,
    g.host
FROM gpu g
JOIN worker w ON w.name = g.worker
LEFT JOIN lease l ON l.gpu = g.id AND l.released_at IS NULL
LEFT JOIN attempt a ON a.id = l.attempt
LEFT JOIN job j ON j.id = a.job
WHERE (g.state <> 'gone' AND w.state <> 'removed') OR l.id IS NOT NULL;
