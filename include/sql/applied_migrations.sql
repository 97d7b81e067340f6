-- Purpose: what has been applied.
-- Parameters: none.
-- Grain: one row a migration.
SELECT number, name, sha256 FROM schema_version ORDER BY number;
