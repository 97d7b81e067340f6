-- Purpose: the environments that a job can ask for.
-- Parameters: none.
-- Grain: one row an environment.
SELECT name FROM environment ORDER BY name;
