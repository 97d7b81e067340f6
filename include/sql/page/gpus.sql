-- Purpose: every GPU there is and who is on it.
-- Parameters: limit.
-- Grain: one row a GPU; by worker, then number.
SELECT
    o.worker, o.kind, o.worker_state, o.number, o.model, o.generation, o.memory_mb, o.declared, o.state, o.reason,
    o.reserved_for, o.job, o.name, o.owner, o.lease_expired
FROM gpu_occupancy o
ORDER BY o.worker, o.number
LIMIT %(limit)s;
