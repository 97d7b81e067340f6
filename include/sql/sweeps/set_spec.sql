-- Purpose: give a search another budget.
-- Parameters: sweep, spec (jsonb).
-- Grain: one row.
UPDATE sweep SET spec = %(spec)s WHERE id = %(sweep)s
