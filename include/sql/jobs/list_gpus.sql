-- Purpose: every GPU and who is on it.
-- Parameters: none.
-- Grain: one row a GPU.
SELECT * FROM gpu_occupancy ORDER BY worker, number;
