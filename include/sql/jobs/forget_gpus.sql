-- Purpose: GPUs that a worker had and that its probe does not find any more.
-- Parameters: worker (text), present (text[]), the uuids that are there.
-- Grain: one row a GPU that went.
UPDATE gpu SET state = 'gone', reason = 'not found on its worker', checked_at = clock_timestamp()
WHERE worker = %(worker)s AND state <> 'gone' AND NOT uuid = ANY(%(present)s::text[]);
