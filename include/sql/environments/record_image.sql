-- Purpose: an image was pushed, and is what containers and pods run from now on.
-- Parameters: name, framework, version, recipe_sha256, image (registry/repository@sha256:…), size_bytes, build_s.
-- Grain: one environment. A folder of another recipe goes: one name means the same packages everywhere.
UPDATE environment
SET image = %(image)s, folder = CASE WHEN recipe_sha256 = %(recipe_sha256)s THEN folder END,
    framework = %(framework)s, version = %(version)s, recipe_sha256 = %(recipe_sha256)s,
    size_bytes = %(size_bytes)s, build_s = %(build_s)s, state = 'built', reason = '', built_at = clock_timestamp()
WHERE name = %(name)s;
