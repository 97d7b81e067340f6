-- Purpose: every environment that jobs can ask for, as the database knows it.
-- Parameters: none.
-- Grain: one environment; being_built: somebody builds it at this moment.
SELECT
    e.name, e.framework, e.version, e.recipe_sha256, e.image, e.folder, e.size_bytes, e.build_s, e.state, e.reason,
    e.built_at,
    EXISTS (
        SELECT FROM pg_locks AS l
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = 1702454648
            AND l.objid = (hashtext(e.name) & 2147483647)::oid
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ) AS being_built
FROM environment AS e
ORDER BY e.framework, e.version DESC, e.name;
