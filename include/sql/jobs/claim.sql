-- Purpose: lend free GPUs to the next job that fits them.
--
-- A *lane* is what may differ in whether it fits or what it costs its owner: (gpus, memory_mb, generations,
-- environment, owner). Only the first few jobs of each lane are looked at, each found by one step into the index
-- job_queue: the decision costs what the lanes cost, whatever the length of the queue, and a lane that does not fit
-- holds nobody up. Among the lanes' heads the lowest score goes first: order_at (when it was queued, less one ageing
-- interval a step of priority) plus the owner's fair share (a penalty a GPU that the owner has now, up to a cap).
--
-- Jobs of several GPUs (gangs) need them on one host: a worker, or one node of a worker that is a cluster. One that has waited past the policy's bound, and that a job behind it is
-- about to overtake on a GPU of its own, gets a host reserved instead: nobody else is offered that one, until it fits.
--
-- Any number of dispatchers may run this at once: rows that another holds are passed over, and rows that it changed
-- meanwhile are read again before they are locked. What this statement cannot see, the constraints refuse.
--
-- Parameters: dispatcher (bigint), workers (text[], those that it can reach; NULL: all).
-- Grain: none where nothing fits; else one row: outcome claimed (with the new attempt, as the statement assignment
-- has it: in the same answer, as each question more is a way to the server and back), reserved (a host, nothing started:
-- ask again), or collided (what fits is in other hands at this moment: ask again).
WITH RECURSIVE free AS MATERIALIZED (
    SELECT
        g.id, g.worker, g.host, g.number, g.generation, g.memory_mb, w.kind,
        CASE WHEN g.host = w.reserved_host THEN w.reserved_for END AS reserved_for
    FROM gpu g JOIN worker w ON w.name = g.worker
    WHERE g.held_by IS NULL AND g.state = 'ok' AND w.state = 'up'
      AND (%(workers)s::text[] IS NULL OR w.name = ANY(%(workers)s::text[]))
), offer AS MATERIALIZED (
    SELECT worker, host, kind, generation, memory_mb, reserved_for, count(*) AS n FROM free GROUP BY 1, 2, 3, 4, 5, 6
), demand AS (
    (
        SELECT gpus, memory_mb, generations, environment FROM job
        WHERE state = 'queued' AND EXISTS (SELECT FROM free)
        ORDER BY gpus, memory_mb, generations, environment LIMIT 1
    )
    UNION ALL
    SELECT n.gpus, n.memory_mb, n.generations, n.environment
    FROM demand d CROSS JOIN LATERAL (
        SELECT j.gpus, j.memory_mb, j.generations, j.environment FROM job j
        WHERE j.state = 'queued'
          AND (j.gpus, j.memory_mb, j.generations, j.environment) > (d.gpus, d.memory_mb, d.generations, d.environment)
        ORDER BY j.gpus, j.memory_mb, j.generations, j.environment LIMIT 1
    ) n
), judged AS MATERIALIZED (
    SELECT
        d.gpus, d.memory_mb, d.generations, d.environment, e.image, e.folder,
        EXISTS (
            SELECT FROM offer o
            WHERE o.reserved_for IS NULL AND o.memory_mb >= d.memory_mb
              AND (d.generations = '{}' OR o.generation = ANY(d.generations))
              AND CASE o.kind WHEN 'process' THEN e.folder ELSE e.image END IS NOT NULL
            GROUP BY o.worker, o.host HAVING sum(o.n) >= d.gpus
        ) AS fits
    FROM demand d JOIN environment e ON e.name = d.environment
    WHERE e.state = 'built'
), lane AS (
    -- The first entry of each lane in the index is its head: one step gives the next owner and that.
    SELECT d.gpus, d.memory_mb, d.generations, d.environment, d.image, d.folder, n.owner, n.order_at
    FROM judged d CROSS JOIN LATERAL (
        SELECT j.owner, j.order_at FROM job j
        WHERE j.state = 'queued' AND j.gpus = d.gpus AND j.memory_mb = d.memory_mb
          AND j.generations = d.generations AND j.environment = d.environment AND j.not_before <= clock_timestamp()
        ORDER BY j.owner, j.order_at, j.id LIMIT 1
    ) n
    WHERE d.fits
    UNION ALL
    SELECT l.gpus, l.memory_mb, l.generations, l.environment, l.image, l.folder, n.owner, n.order_at
    FROM lane l CROSS JOIN LATERAL (
        SELECT j.owner, j.order_at FROM job j
        WHERE j.state = 'queued' AND j.gpus = l.gpus AND j.memory_mb = l.memory_mb
          AND j.generations = l.generations AND j.environment = l.environment AND j.owner > l.owner
          AND j.not_before <= clock_timestamp()
        ORDER BY j.owner, j.order_at, j.id LIMIT 1
    ) n
), share AS MATERIALIZED (
    SELECT g.held_owner AS owner, least(p.share_cap, count(*) * p.share_penalty) AS penalty
    FROM gpu g CROSS JOIN queue_policy p WHERE g.held_by IS NOT NULL GROUP BY g.held_owner, p.share_cap, p.share_penalty
), best AS MATERIALIZED (
    SELECT l.*, coalesce(s.penalty, '0') AS penalty
    FROM lane l LEFT JOIN share s ON s.owner = l.owner
    ORDER BY l.order_at + coalesce(s.penalty, '0') LIMIT 8
), head AS (
    -- More than one of a lane, so that dispatchers that ask at once need not wait for each other.
    SELECT h.id, b.gpus, b.memory_mb, b.generations, b.image, b.folder, h.order_at + b.penalty AS score
    FROM best b CROSS JOIN LATERAL (
        SELECT j.id, j.order_at FROM job j
        WHERE j.state = 'queued' AND j.gpus = b.gpus AND j.memory_mb = b.memory_mb
          AND j.generations = b.generations AND j.environment = b.environment AND j.owner = b.owner
          AND j.not_before <= clock_timestamp()
        ORDER BY j.order_at, j.id LIMIT 4
    ) h
), promised AS (
    SELECT
        j.id, j.gpus, j.memory_mb, j.generations, e.image, e.folder, j.order_at + coalesce(s.penalty, '0') AS score
    FROM worker w
    JOIN job j ON j.id = w.reserved_for
    JOIN environment e ON e.name = j.environment
    LEFT JOIN share s ON s.owner = j.owner
    WHERE w.reserved_for IS NOT NULL AND j.state = 'queued' AND j.not_before <= clock_timestamp() AND e.state = 'built'
      AND CASE w.kind WHEN 'process' THEN e.folder ELSE e.image END IS NOT NULL
      AND j.gpus <= (
          SELECT sum(o.n) FROM offer o
          WHERE o.worker = w.name AND o.host = w.reserved_host AND o.memory_mb >= j.memory_mb
            AND (j.generations = '{}' OR o.generation = ANY(j.generations))
      )
), candidate AS MATERIALIZED (
    SELECT * FROM (SELECT * FROM promised UNION SELECT * FROM head) c ORDER BY c.score, c.id LIMIT 8
), chosen AS MATERIALIZED (
    SELECT c.*
    FROM candidate c JOIN job j ON j.id = c.id
    WHERE j.state = 'queued'
    ORDER BY c.score, c.id LIMIT 1
    FOR UPDATE OF j SKIP LOCKED
), spot AS MATERIALIZED (
    -- Every free GPU that fits, the one to take first: the smallest that will do, on its own reserved host or the
    -- fullest one.
    SELECT
        f.id, f.worker, f.host, f.number, f.memory_mb, c.gpus,
        count(*) OVER (PARTITION BY f.worker, f.host) AS on_host,
        f.reserved_for IS NULL AS is_open
    FROM chosen c JOIN free f
        ON f.memory_mb >= c.memory_mb AND (c.generations = '{}' OR f.generation = ANY(c.generations))
        AND (f.reserved_for IS NULL OR f.reserved_for = c.id)
        AND CASE f.kind WHEN 'process' THEN c.folder ELSE c.image END IS NOT NULL
), host AS MATERIALIZED (
    SELECT worker, host FROM spot WHERE on_host >= gpus ORDER BY is_open, on_host, memory_mb, worker, host LIMIT 1
), given AS MATERIALIZED (
    SELECT g.id, g.worker, g.number, g.uuid, g.declared, g.generation, g.memory_mb
    FROM spot s JOIN gpu g ON g.id = s.id
    WHERE g.held_by IS NULL AND g.state = 'ok' AND (s.gpus = 1 OR (s.worker, s.host) = (SELECT worker, host FROM host))
    ORDER BY s.memory_mb, s.on_host, s.worker, s.host, s.number
    LIMIT (SELECT gpus FROM chosen)
    FOR UPDATE OF g SKIP LOCKED
), overdue AS MATERIALIZED (
    SELECT h.*
    FROM chosen c CROSS JOIN queue_policy p CROSS JOIN judged d CROSS JOIN LATERAL (
        SELECT
            j.id, j.gpus, j.memory_mb, j.generations, j.queued_at, d.image, d.folder,
            j.order_at + coalesce((SELECT s.penalty FROM share s WHERE s.owner = j.owner), '0') AS score
        FROM job j
        WHERE j.state = 'queued' AND j.gpus > 1 AND j.gpus = d.gpus AND j.memory_mb = d.memory_mb
          AND j.generations = d.generations AND j.environment = d.environment
          AND j.not_before <= clock_timestamp()
          AND NOT EXISTS (SELECT FROM worker w WHERE w.reserved_for = j.id)
        ORDER BY j.order_at, j.id LIMIT 1
    ) h
    WHERE d.gpus > 1 AND NOT d.fits AND (h.score, h.id) < (c.score, c.id)
      AND h.queued_at < clock_timestamp() - p.reserve_after
      AND (SELECT count(*) FROM worker w WHERE w.reserved_for IS NOT NULL)
          < (SELECT ceil(count(*) * p.reserved_share) FROM worker w WHERE w.state = 'up')
      AND EXISTS (
          SELECT FROM given g
          WHERE g.memory_mb >= h.memory_mb AND (h.generations = '{}' OR g.generation = ANY(h.generations))
      )
    ORDER BY h.score, h.id LIMIT 1
), due AS MATERIALIZED (
    -- Held, so that nobody starts or cancels it in the moment in which a host is reserved for it.
    SELECT o.* FROM overdue o JOIN job j ON j.id = o.id WHERE j.state = 'queued' FOR UPDATE OF j SKIP LOCKED
), room AS (
    SELECT o.id, g.worker, g.host, count(*) FILTER (WHERE g.held_by IS NULL) AS n
    FROM due o CROSS JOIN worker w JOIN gpu g ON g.worker = w.name
    WHERE w.state = 'up' AND w.reserved_for IS NULL AND g.state = 'ok' AND g.memory_mb >= o.memory_mb
      AND (%(workers)s::text[] IS NULL OR w.name = ANY(%(workers)s::text[]))
      AND (o.generations = '{}' OR g.generation = ANY(o.generations))
      AND CASE w.kind WHEN 'process' THEN o.folder ELSE o.image END IS NOT NULL
    GROUP BY o.id, o.gpus, g.worker, g.host HAVING count(*) >= o.gpus
    ORDER BY n DESC, g.worker, g.host LIMIT 1
), reserved AS (
    UPDATE worker w SET reserved_for = r.id, reserved_host = r.host FROM room r WHERE w.name = r.worker AND w.reserved_for IS NULL
    RETURNING w.name
), begun AS (
    INSERT INTO attempt (job, number, worker, dispatcher, image)
    SELECT
        c.id, 1 + coalesce((SELECT max(a.number) FROM attempt a WHERE a.job = c.id), 0),
        w.name, %(dispatcher)s, CASE WHEN w.kind <> 'process' THEN c.image END
    FROM chosen c JOIN worker w ON w.name = (SELECT min(g.worker) FROM given g)
    WHERE (SELECT count(*) FROM given) = c.gpus AND NOT EXISTS (SELECT FROM room)
    RETURNING
        id, job, number, worker, token, image, extract(epoch FROM claimed_at)::float8 AS claimed_s,
        -- Of this transaction: who acts, for the table event; and what is claimed is on disk before it is started.
        set_config('eyewall.actor', 'dispatcher ' || dispatcher, true), set_config('synchronous_commit', 'on', true)
), lent AS (
    INSERT INTO lease (gpu, attempt, expires_at)
    SELECT g.id, b.id, clock_timestamp() + p.lease FROM begun b CROSS JOIN given g CROSS JOIN queue_policy p
), taken AS (
    UPDATE job j SET state = 'running', reason = '', attempts = j.attempts + 1 FROM begun b WHERE j.id = b.job
)
SELECT
    CASE
        WHEN EXISTS (SELECT FROM begun) THEN 'claimed'
        WHEN EXISTS (SELECT FROM reserved) THEN 'reserved'
        ELSE 'collided'
    END AS outcome,
    b.id AS attempt, b.job, b.number, b.token, j.command, j.owner, j.environment, b.image,
    (SELECT folder FROM chosen) AS folder, j.code, j.data, j.variables, j.max_s, j.priority, w.name, w.kind, w.url,
    w.options, b.claimed_s,
    (
        SELECT jsonb_agg(jsonb_build_object('number', g.number, 'uuid', g.uuid, 'declared', g.declared, 'memory_mb', g.memory_mb)
                         ORDER BY g.number)
        FROM given g
    ) AS gpus
FROM (SELECT) AS one
LEFT JOIN begun b ON true
LEFT JOIN job j ON j.id = b.job
LEFT JOIN worker w ON w.name = b.worker
WHERE EXISTS (SELECT FROM candidate);
