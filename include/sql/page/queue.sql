-- Purpose: a page of the jobs that wait, in the order they would start, each with why it waits.
-- Parameters: limit, offset.
-- Grain: one row a job that is queued (place: its position) or blocked (place: NULL), the blocked ones last.
SELECT
    q.position AS place, q.why, j.id, j.name, j.owner, j.environment, j.command, j.gpus, j.generations, j.memory_mb, j.priority,
    j.state, CASE j.state WHEN 'blocked' THEN j.submitted_at ELSE j.queued_at END AS since, j.stop, t.sweep,
    t.number AS trial
FROM (SELECT * FROM queue_order ORDER BY position NULLS LAST, job LIMIT %(limit)s OFFSET %(offset)s) AS q
JOIN job j ON j.id = q.job
LEFT JOIN trial t ON t.job = j.id
ORDER BY q.position NULLS LAST, j.id;
