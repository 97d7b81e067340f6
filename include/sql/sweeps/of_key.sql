-- Purpose: searches that go on and that a task of Airflow asked for.
-- Parameters: key.
-- Grain: one row a search: its name.
SELECT name FROM sweep WHERE key = %(key)s AND state = 'running' ORDER BY id
