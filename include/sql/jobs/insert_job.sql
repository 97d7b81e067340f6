-- Purpose: a job as it was submitted; nothing where its key is there already.
-- Parameters: the columns; blocked (bool), whether a job that it comes after has yet to succeed.
-- Grain: one row, or none.
INSERT INTO job (
    key, name, owner, environment, command, code, data, variables,
    gpus, generations, memory_mb, priority, max_s, max_attempts, state
) VALUES (
    %(key)s, %(name)s, %(owner)s, %(environment)s, %(command)s, %(code)s, %(data)s, %(variables)s,
    %(gpus)s, %(generations)s, %(memory_mb)s, %(priority)s, %(max_s)s, %(max_attempts)s,
    CASE WHEN %(blocked)s THEN 'blocked' ELSE 'queued' END
)
ON CONFLICT (key) DO NOTHING
RETURNING id;
