-- Purpose: the metrics of some attempts as curves of few points, however many were reported: each point is looked up by
-- its step, so that the cost does not grow with the reports. Of an attempt the first 12 metrics by name.
-- Parameters: attempts (ids), metric (the only one that is wanted; NULL: all), points (of a curve, at most; its first and
-- its last step are always among them).
-- Grain: one row an attempt, metric and kept step; a value that is no finite number is NULL.
WITH RECURSIVE named AS (
    SELECT a.attempt, 1 AS n, coalesce(%(metric)s::text, (SELECT min(r.metric) FROM report r WHERE r.attempt = a.attempt)) AS metric
    FROM unnest(%(attempts)s::bigint[]) AS a (attempt)
    UNION ALL
    SELECT n.attempt, n.n + 1, (SELECT min(r.metric) FROM report r WHERE r.attempt = n.attempt AND r.metric > n.metric)
    FROM named n
    WHERE n.metric IS NOT NULL AND n.n < 12 AND %(metric)s::text IS NULL
), span AS (
    SELECT
        n.attempt, n.metric,
        (SELECT min(r.step) FROM report r WHERE r.attempt = n.attempt AND r.metric = n.metric) AS first,
        (SELECT max(r.step) FROM report r WHERE r.attempt = n.attempt AND r.metric = n.metric) AS last
    FROM named n
    WHERE n.metric IS NOT NULL
)
SELECT DISTINCT s.attempt, s.metric, p.step, CASE WHEN abs(p.value) < 'Infinity' THEN p.value END AS value
FROM span s
CROSS JOIN generate_series(0, %(points)s - 1) AS g
CROSS JOIN LATERAL (
    SELECT r.step, r.value FROM report r
    WHERE r.attempt = s.attempt AND r.metric = s.metric
        AND r.step <= floor(s.last - (s.last::numeric - s.first) * g / greatest(1, %(points)s - 1))::bigint
    ORDER BY r.step DESC LIMIT 1
) AS p
WHERE s.first IS NOT NULL
ORDER BY 1, 2, 3;
