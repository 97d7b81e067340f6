-- Purpose: one change of a search at a time; held to the end of the transaction.
-- Parameters: name.
-- Grain: one row, or none.
SELECT id FROM sweep WHERE name = %(name)s FOR UPDATE
