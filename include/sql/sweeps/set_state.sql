-- Purpose: a search ends, is stopped, or goes on.
-- Parameters: sweep, state, reason, from_states (text[]): the states in which it may do so.
-- Grain: one row of its id; none where it is in another state.
UPDATE sweep
SET
    state = %(state)s, reason = %(reason)s,
    ended_at = CASE WHEN %(state)s = 'running' THEN NULL ELSE clock_timestamp() END
WHERE id = %(sweep)s AND state = ANY (%(from_states)s)
RETURNING id
