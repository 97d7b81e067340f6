-- Purpose: what happened to one job and its attempts, the last first; a lease's events say nothing more than these.
-- Parameters: job, limit.
-- Grain: one row a change of state.
SELECT e.at, e.what, e.from_state, e.to_state, e.reason, e.actor
FROM event e
WHERE e.job = %(job)s AND e.what <> 'lease'
ORDER BY e.id DESC
LIMIT %(limit)s;
