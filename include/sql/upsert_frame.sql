-- Purpose: a frame of the store enters the catalogue, or stays as it is.
-- Parameters: path, stream, part (text), nominal_time (timestamptz).
-- Grain: one row.
INSERT INTO frame (path, stream, nominal_time, part)
VALUES (%(path)s, %(stream)s, %(nominal_time)s, %(part)s)
ON CONFLICT (path) DO UPDATE
SET stream = excluded.stream, nominal_time = excluded.nominal_time, part = excluded.part;
