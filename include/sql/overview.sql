-- Purpose: what the catalogue holds, by kind and stream; the page that `eyewall catalogue show` prints.
-- Parameters: none.
-- Grain: one row a kind (of artifact) or a stream (of frames and refused files).
SELECT 'frame' AS what, stream AS of, count(*) AS n, min(nominal_time) AS first, max(nominal_time) AS last
FROM frame GROUP BY stream
UNION ALL
SELECT 'quarantined', stream, count(*), NULL, NULL FROM quarantined_file GROUP BY stream
UNION ALL
SELECT 'artifact', kind, count(*), NULL, NULL FROM artifact GROUP BY kind
UNION ALL
SELECT 'run', dag_id, count(DISTINCT run), NULL, NULL FROM receipt GROUP BY dag_id
ORDER BY 1, 2;
