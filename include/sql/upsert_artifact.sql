-- Purpose: an artifact of the store enters the catalogue, or is brought up to date.
-- Parameters: path, kind, sha256, code_version (text), counts, config, inputs, extra (jsonb).
-- Grain: one row.
INSERT INTO artifact (path, kind, sha256, code_version, counts, config, inputs, extra)
VALUES (%(path)s, %(kind)s, %(sha256)s, %(code_version)s, %(counts)s, %(config)s, %(inputs)s, %(extra)s)
ON CONFLICT (path) DO UPDATE
SET kind = excluded.kind, sha256 = excluded.sha256, code_version = excluded.code_version, counts = excluded.counts,
    config = excluded.config, inputs = excluded.inputs, extra = excluded.extra;
