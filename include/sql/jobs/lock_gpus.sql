-- Purpose: a worker's GPUs, held still in one order, so that no two transactions wait for each other.
-- Parameters: worker (text).
-- Grain: one row a GPU.
SELECT id FROM gpu WHERE worker = %(worker)s ORDER BY id FOR UPDATE;
