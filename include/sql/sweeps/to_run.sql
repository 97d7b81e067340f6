-- Purpose: searches that are left to dispatchers and that nobody runs now.
-- Parameters: none.
-- Grain: one row a search: its name.
SELECT name FROM search_to_run ORDER BY id
