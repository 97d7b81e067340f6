-- Purpose: which of some searches are over, their jobs included. One that is not there is.
-- Parameters: %(ids)s bigint[].
-- Grain: one row per such search: id, state ('gone' for one that is not there).
SELECT wanted.id, coalesce(s.state, 'gone') AS state
FROM unnest(%(ids)s::bigint[]) AS wanted (id)
LEFT JOIN sweep AS s ON s.id = wanted.id
WHERE s.id IS NULL
    OR s.state <> 'running' AND NOT EXISTS (
        SELECT FROM trial AS t JOIN job AS j ON j.id = t.job
        WHERE t.sweep = s.id AND j.state IN ('blocked', 'queued', 'running')
    );
