-- Purpose: what a search has used of its budget.
-- Parameters: sweep.
-- Grain: one row: hours in which any of its trials was queued or ran (pauses do not count), and GPU-hours of all leases.
SELECT
    coalesce((
        SELECT sum(extract(epoch FROM upper(stretch) - lower(stretch))) / 3600
        FROM (
            SELECT unnest(range_agg(tstzrange(
                j.submitted_at, greatest(j.submitted_at, coalesce(j.ended_at, clock_timestamp()))
            ))) AS stretch
            FROM trial t JOIN job j ON j.id = t.job
            WHERE t.sweep = %(sweep)s
        ) AS stretches
    ), 0)::double precision AS hours,
    coalesce((
        SELECT sum(extract(epoch FROM coalesce(l.released_at, clock_timestamp()) - l.granted_at)) / 3600
        FROM trial t JOIN attempt a ON a.job = t.job JOIN lease l ON l.attempt = a.id
        WHERE t.sweep = %(sweep)s
    ), 0)::double precision AS gpu_hours
