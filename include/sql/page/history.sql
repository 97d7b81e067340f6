-- Purpose: a page of the jobs that have ended, the last first, as the filters have it.
-- Parameters: before_at and before_id (the last row of the page before; NULL: from the start), state and text (NULL: any;
-- text is found in name, owner and command), limit.
-- Grain: one row a job that has ended.
SELECT
    j.id, j.name, j.owner, j.environment, j.command, j.gpus, j.priority, j.state, j.reason, j.submitted_at, j.ended_at,
    a.number AS attempts, a.worker, a.exit_code, a.started_at, t.sweep, t.number AS trial
FROM job j
LEFT JOIN LATERAL (SELECT * FROM attempt WHERE attempt.job = j.id ORDER BY number DESC LIMIT 1) AS a ON true
LEFT JOIN trial t ON t.job = j.id
WHERE j.ended_at IS NOT NULL
  AND j.state NOT IN ('blocked', 'queued', 'running')
  AND (%(before_at)s::timestamptz IS NULL OR (j.ended_at, j.id) < (%(before_at)s::timestamptz, %(before_id)s::bigint))
  AND (%(state)s::text IS NULL OR j.state = %(state)s::text)
  AND (%(text)s::text IS NULL
       OR strpos(lower(concat_ws(' ', j.name, j.owner, array_to_string(j.command, ' '))), lower(%(text)s::text)) > 0)
ORDER BY j.ended_at DESC, j.id DESC
LIMIT %(limit)s;
