-- Purpose: a worker answers, or does not. One that is draining or removed stays so.
-- Parameters: name (text), answers (boolean), reason (text).
-- Grain: one row where the state changed.
WITH before AS (SELECT name, state FROM worker WHERE name = %(name)s FOR UPDATE)
UPDATE worker SET
    state = CASE
        WHEN worker.state = 'unreachable' AND %(answers)s THEN 'up'
        WHEN worker.state = 'up' AND NOT %(answers)s THEN 'unreachable'
        ELSE worker.state
    END,
    reason = CASE WHEN worker.state IN ('up', 'unreachable') THEN %(reason)s ELSE worker.reason END,
    seen_at = CASE WHEN %(answers)s THEN clock_timestamp() ELSE worker.seen_at END
FROM before WHERE worker.name = before.name
RETURNING worker.state, before.state;
