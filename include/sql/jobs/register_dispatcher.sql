-- Purpose: a dispatcher begins.
-- Parameters: host (text), pid (integer), of its process.
-- Grain: one row: id.
INSERT INTO dispatcher (host, pid, backend_pid) VALUES (%(host)s, %(pid)s, pg_backend_pid()) RETURNING id;
