-- Purpose: one GPU as a probe found it.
-- Parameters: the columns.
-- Grain: one row.
INSERT INTO gpu (worker, host, number, uuid, model, generation, memory_mb, declared, state, reason)
VALUES (
    %(worker)s, %(host)s, %(number)s, %(uuid)s, %(model)s, %(generation)s, %(memory_mb)s, %(declared)s, %(state)s,
    %(reason)s
)
ON CONFLICT (worker, uuid) DO UPDATE SET
    host = excluded.host, number = excluded.number, model = excluded.model, generation = excluded.generation,
    memory_mb = excluded.memory_mb, declared = excluded.declared, state = excluded.state, reason = excluded.reason,
    checked_at = clock_timestamp();
