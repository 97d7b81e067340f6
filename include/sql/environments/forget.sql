-- Purpose: nothing of an environment is left to run. Its row stays: ended jobs name it.
-- Parameters: name.
-- Grain: one environment.
UPDATE environment
SET image = NULL, folder = NULL, size_bytes = NULL, build_s = NULL, built_at = NULL, state = 'listed', reason = ''
WHERE name = %(name)s;
