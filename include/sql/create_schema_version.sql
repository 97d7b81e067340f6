-- Purpose: the table that says which migrations have been applied.
-- Parameters: none.
-- Grain: one row a migration.
CREATE TABLE IF NOT EXISTS schema_version (
    number     integer PRIMARY KEY,
    name       text NOT NULL,
    sha256     char(64) NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
