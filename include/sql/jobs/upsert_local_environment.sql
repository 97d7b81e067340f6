-- Purpose: the environment "local": the interpreter of the dispatcher itself, for workers of kind process.
-- Parameters: version (text), recipe_sha256 (text), folder (text).
-- Grain: one row.
INSERT INTO environment (name, framework, version, recipe_sha256, folder, state, built_at)
VALUES ('local', 'python', %(version)s, %(recipe_sha256)s, %(folder)s, 'built', clock_timestamp())
ON CONFLICT (name) DO UPDATE SET
    version = excluded.version, recipe_sha256 = excluded.recipe_sha256, folder = excluded.folder, state = 'built';
