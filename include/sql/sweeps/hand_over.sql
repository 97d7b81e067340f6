-- Purpose: leave a search to the dispatchers, for the task that asked for it.
-- Parameters: sweep, key.
-- Grain: one row; none where nothing changes.
UPDATE sweep SET by_dispatcher = true, key = %(key)s
WHERE id = %(sweep)s AND (NOT by_dispatcher OR key <> %(key)s)
RETURNING id
