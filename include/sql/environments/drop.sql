-- Purpose: an environment that no recipe makes any more is no longer offered.
-- Parameters: name.
-- Grain: one environment; one that a job names stays, as that job's history.
DELETE FROM environment WHERE name = %(name)s AND NOT EXISTS (SELECT FROM job WHERE environment = %(name)s);
