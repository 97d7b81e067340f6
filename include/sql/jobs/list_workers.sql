-- Purpose: the workers, with how many GPUs each has and lends.
-- Parameters: removed (bool), also those.
-- Grain: one row a worker.
SELECT
    w.name, w.kind, w.url, w.state, w.reason, w.seen_at, w.reserved_for,
    count(g.id) FILTER (WHERE g.state <> 'gone') AS gpus,
    count(g.id) FILTER (WHERE g.held_by IS NOT NULL) AS busy,
    count(g.id) FILTER (WHERE g.state IN ('failed', 'foreign')) AS not_offered,
    coalesce(string_agg(DISTINCT g.generation, ', ') FILTER (WHERE g.state <> 'gone'), '') AS generations
FROM worker w LEFT JOIN gpu g ON g.worker = w.name
WHERE w.state <> 'removed' OR %(removed)s
GROUP BY w.name ORDER BY w.name;
