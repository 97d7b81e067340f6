-- Purpose: how often a dispatcher shows that it lives.
-- Parameters: none.
-- Grain: one row: seconds between heartbeats, seconds until a lease expires.
SELECT extract(epoch FROM heartbeat)::float8, extract(epoch FROM lease)::float8 FROM queue_policy;
