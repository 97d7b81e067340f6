-- Purpose: the figures at the top of the page: jobs by state, those that ended in the last day, and the GPUs.
-- Parameters: none.
-- Grain: one row in all. gpus: those that are busy, or free and offered.
SELECT
    (SELECT count(*) FROM job WHERE state = 'running') AS running,
    (SELECT count(*) FROM job WHERE state = 'queued') AS queued,
    (SELECT count(*) FROM job WHERE state = 'blocked') AS blocked,
    d.succeeded_1d, d.failed_1d, o.gpus, o.busy,
    (SELECT count(*) FROM dispatcher i CROSS JOIN queue_policy p
     WHERE i.ended_at IS NULL AND i.heartbeat_at > clock_timestamp() - p.lease) AS dispatchers
FROM
    (SELECT count(*) FILTER (WHERE state = 'busy' OR state = 'free' AND worker_state = 'up') AS gpus, count(*) FILTER (WHERE state = 'busy') AS busy
     FROM gpu_occupancy) AS o,
    (SELECT count(*) FILTER (WHERE state = 'succeeded') AS succeeded_1d, count(*) FILTER (WHERE state = 'failed') AS failed_1d
     FROM job WHERE ended_at > clock_timestamp() - interval '1 day') AS d;
