-- Purpose: a build begins; what was built before stays in use meanwhile.
-- Parameters: name.
-- Grain: one environment.
UPDATE environment SET state = 'building', reason = '' WHERE name = %(name)s;
