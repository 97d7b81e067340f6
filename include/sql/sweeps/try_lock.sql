-- Purpose: be the one controller of a search as long as this session lives.
-- Parameters: sweep.
-- Grain: one row: whether this session is it now.
SELECT pg_try_advisory_lock(1702454648, %(sweep)s::integer)
