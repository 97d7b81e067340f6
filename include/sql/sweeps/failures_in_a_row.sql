-- Purpose: how many trials failed since the last one that did not, and since the search was last started or resumed.
-- A job that ended well without a value failed as a trial.
-- Parameters: sweep, untold (integer[]): trials whose end has not been looked at.
-- Grain: one row: n, and the reason of one of them.
WITH ended AS (
    SELECT j.ended_at, j.reason, t.value IS NOT NULL OR j.state = 'pruned' AS good
    FROM trial t JOIN job j ON j.id = t.job
    WHERE t.sweep = %(sweep)s AND NOT t.number = ANY (%(untold)s::integer[])
        AND j.state IN ('succeeded', 'pruned', 'failed')
),
since AS (
    SELECT greatest(
        (SELECT max(at) FROM event
            WHERE what = 'sweep' AND key = %(sweep)s::bigint::text AND to_state = 'running'),
        (SELECT max(ended_at) FROM ended WHERE good)
    ) AS at
)
SELECT count(*) AS n, coalesce(nullif((array_agg(reason ORDER BY ended_at DESC))[1], ''), 'no value was reported') AS reason
FROM ended CROSS JOIN since
WHERE NOT good AND (since.at IS NULL OR ended_at > since.at)
