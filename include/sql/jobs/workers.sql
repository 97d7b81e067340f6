-- Purpose: the workers there are.
-- Parameters: names (text[]), or NULL for all.
-- Grain: one row per worker that was not removed.
SELECT name, kind, url, options, state FROM worker
WHERE state <> 'removed' AND (%(names)s::text[] IS NULL OR name = ANY(%(names)s::text[]))
ORDER BY name;
