-- Purpose: what the hosts have, whether free, busy or out of reach at the moment.
-- Parameters: none.
-- Grain: one row a worker, host of it, generation and size of memory: how many such GPUs are there.
SELECT g.worker, g.host, g.generation, g.memory_mb, count(*)
FROM gpu g JOIN worker w ON w.name = g.worker
WHERE w.state <> 'removed' AND g.state <> 'gone'
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4;
