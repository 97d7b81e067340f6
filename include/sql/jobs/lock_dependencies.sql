-- Purpose: the state of jobs that another is to come after, held still until that one is in.
-- Parameters: after (bigint[]).
-- Grain: one row a job that is there.
SELECT id, state FROM job WHERE id = ANY(%(after)s::bigint[]) ORDER BY id FOR SHARE;
