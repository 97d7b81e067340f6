-- Purpose: jobs as `eyewall job list` shows them: those that run, then those that wait in their order, then what ended.
-- Parameters: ended (bool), also those; state, owner (text or NULL: any), limit.
-- Grain: one row a job.
SELECT s.*
FROM job_status s LEFT JOIN queue_order q ON q.job = s.id
WHERE (%(ended)s OR s.state IN ('blocked', 'queued', 'running'))
  AND (%(state)s::text IS NULL OR s.state = %(state)s) AND (%(owner)s::text IS NULL OR s.owner = %(owner)s)
ORDER BY
    array_position('{running,queued,blocked}', s.state) NULLS LAST, q.position, s.ended_at DESC NULLS LAST, s.id
LIMIT %(limit)s;
