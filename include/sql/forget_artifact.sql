-- Purpose: what is no longer in the store leaves the catalogue.
-- Parameters: present (text[]), every path that is still in the store.
-- Grain: one row a path that went.
DELETE FROM artifact WHERE NOT path = ANY(%(present)s);
