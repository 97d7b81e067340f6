-- Purpose: say the truth of builds whose process was killed: nobody holds their lock any more.
-- Parameters: none.
-- Grain: one environment that was not being built after all.
UPDATE environment AS e
SET state = CASE WHEN e.image IS NULL AND e.folder IS NULL THEN 'failed' ELSE 'built' END,
    reason = 'its build was killed; the same command goes on'
WHERE e.state = 'building' AND NOT EXISTS (
    SELECT FROM pg_locks AS l
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = 1702454648
        AND l.objid = (hashtext(e.name) & 2147483647)::oid
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
RETURNING e.name;
