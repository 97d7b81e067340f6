-- Purpose: nothing of an attempt is left on its worker; or what is left there is for a person to look after.
-- Parameters: attempt (bigint), left (boolean).
-- Grain: one row, or none where it has not ended.
UPDATE attempt SET cleared_at = CASE WHEN %(left)s THEN 'infinity' ELSE clock_timestamp() END
WHERE id = %(attempt)s AND ended_at IS NOT NULL RETURNING id;
