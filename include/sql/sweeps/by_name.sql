-- Purpose: one search by its name.
-- Parameters: name.
-- Grain: one row, or none.
SELECT id, name, owner, spec, state, reason, created_at, ended_at FROM sweep WHERE name = %(name)s
