-- Purpose: a receipt of the store enters the catalogue, or is brought up to date (a task that ran again).
-- Parameters: path, dag_id, run, task, verb, result_path, result_sha256 (text), summary (jsonb).
-- Grain: one row.
INSERT INTO receipt (path, dag_id, run, task, verb, result_path, result_sha256, summary)
VALUES (%(path)s, %(dag_id)s, %(run)s, %(task)s, %(verb)s, %(result_path)s, %(result_sha256)s, %(summary)s)
ON CONFLICT (path) DO UPDATE
SET verb = excluded.verb, result_path = excluded.result_path, result_sha256 = excluded.result_sha256,
    summary = excluded.summary;
