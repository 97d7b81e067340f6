-- Purpose: remember that a migration has been applied.
-- Parameters: number (integer), name (text), sha256 (text) of its file.
-- Grain: one row.
INSERT INTO schema_version (number, name, sha256) VALUES (%(number)s, %(name)s, %(sha256)s);
