-- Purpose: what the hosts have, whether free, busy or out of reach at the moment.
-- Parameters: none.
-- Grain: one row a worker, generation and size of memory: how many such GPUs it has.
SELECT g.worker, g.generation, g.memory_mb, count(*)
FROM gpu g JOIN worker w ON w.name = g.worker
WHERE w.state <> 'removed' AND g.state <> 'gone'
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
