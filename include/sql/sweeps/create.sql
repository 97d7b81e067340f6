-- Purpose: register a search, once for its name.
-- Parameters: name, owner, spec (jsonb).
-- Grain: one row of its id; none where the name is taken.
INSERT INTO sweep (name, owner, spec) VALUES (%(name)s, %(owner)s, %(spec)s)
ON CONFLICT (name) DO NOTHING
RETURNING id
