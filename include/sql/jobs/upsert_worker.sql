-- Purpose: a worker as the settings, or somebody, describe it.
-- Parameters: the columns.
-- Grain: one row.
INSERT INTO worker (name, kind, url, options) VALUES (%(name)s, %(kind)s, %(url)s, %(options)s)
ON CONFLICT (name) DO UPDATE SET
    kind = excluded.kind, url = excluded.url, options = excluded.options, seen_at = clock_timestamp(),
    state = CASE worker.state WHEN 'removed' THEN 'up' ELSE worker.state END,
    reason = CASE worker.state WHEN 'removed' THEN '' ELSE worker.reason END;
