-- Purpose: what a new job comes after.
-- Parameters: job (bigint), after (bigint[]).
-- Grain: one row a dependency.
INSERT INTO job_dependency (job, after) SELECT DISTINCT %(job)s::bigint, unnest(%(after)s::bigint[]);
