-- Purpose: whether a worker is offered jobs; one that answers was seen just now.
-- Parameters: name (text), state (text), reason (text).
-- Grain: one row, or none.
UPDATE worker SET
    state = %(state)s, reason = %(reason)s,
    seen_at = CASE WHEN %(state)s = 'up' THEN clock_timestamp() ELSE seen_at END
WHERE name = %(name)s
RETURNING name;
