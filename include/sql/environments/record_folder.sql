-- Purpose: a folder of this machine was made, and is what its process worker runs from now on.
-- Parameters: name, framework, version, recipe_sha256, folder, size_bytes, build_s.
-- Grain: one environment. An image of another recipe goes: one name means the same packages everywhere.
UPDATE environment
SET folder = %(folder)s, image = CASE WHEN recipe_sha256 = %(recipe_sha256)s THEN image END,
    framework = %(framework)s, version = %(version)s, recipe_sha256 = %(recipe_sha256)s,
    size_bytes = %(size_bytes)s, build_s = %(build_s)s, state = 'built', reason = '', built_at = clock_timestamp()
WHERE name = %(name)s;
