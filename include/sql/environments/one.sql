-- Purpose: what a job gets of one environment.
-- Parameters: name.
-- Grain: one environment, or none.
SELECT name, framework, version, recipe_sha256, image, folder, size_bytes, build_s, state, reason, built_at, false
FROM environment
WHERE name = %(name)s;
