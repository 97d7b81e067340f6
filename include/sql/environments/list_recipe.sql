-- Purpose: make a recipe known. What is built stays what it is, until something newer has been built.
-- Parameters: name, framework, version, recipe_sha256, reason (why it cannot be built yet, or '').
-- Grain: one environment; its name comes back where anything changed.
INSERT INTO environment AS e (name, framework, version, recipe_sha256, reason)
VALUES (%(name)s, %(framework)s, %(version)s, %(recipe_sha256)s, %(reason)s)
ON CONFLICT (name) DO UPDATE
SET framework = excluded.framework, version = excluded.version, recipe_sha256 = excluded.recipe_sha256,
    state = 'listed', reason = excluded.reason
WHERE e.image IS NULL AND e.folder IS NULL AND e.state <> 'building'
    AND (e.framework, e.version, e.recipe_sha256) IS DISTINCT FROM
        (excluded.framework, excluded.version, excluded.recipe_sha256)
RETURNING e.name;
