-- Purpose: a build ended without anything new; what was built before stays in use.
-- Parameters: name, reason ('' where there was nothing to do).
-- Grain: one environment.
UPDATE environment
SET state = CASE
        WHEN image IS NOT NULL OR folder IS NOT NULL THEN 'built'
        WHEN %(reason)s = '' THEN 'listed'
        ELSE 'failed'
    END,
    reason = %(reason)s
WHERE name = %(name)s;
