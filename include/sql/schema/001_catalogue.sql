-- Purpose: the catalogue, an index of the artifact store for questions that a folder cannot answer quickly.
-- It holds nothing that is not in the store: it can be dropped and made again with `eyewall catalogue update`.

CREATE TABLE frame (
    path         text PRIMARY KEY,
    stream       text NOT NULL,
    nominal_time timestamptz NOT NULL,
    part         text NOT NULL DEFAULT ''
);
COMMENT ON TABLE frame IS 'Grain: one stored frame. part tells apart frames of one time, such as the storm of a storm-centred archive.';
CREATE INDEX frame_by_time ON frame (stream, nominal_time);

CREATE TABLE quarantined_file (
    path   text PRIMARY KEY,
    stream text NOT NULL,
    reason jsonb NOT NULL
);
COMMENT ON TABLE quarantined_file IS 'Grain: one refused file, with the JSON that says why.';

CREATE TABLE artifact (
    path         text PRIMARY KEY,
    kind         text NOT NULL,
    sha256       char(64) NOT NULL,
    code_version text NOT NULL,
    counts       jsonb NOT NULL,
    config       jsonb NOT NULL,
    inputs       jsonb NOT NULL,
    extra        jsonb NOT NULL
);
COMMENT ON TABLE artifact IS 'Grain: one artifact (records, model, evaluation, decision, version, forecast), from its manifest; sha256 is the manifest''s.';
CREATE INDEX artifact_by_kind ON artifact (kind);

CREATE TABLE receipt (
    path          text PRIMARY KEY,
    dag_id        text NOT NULL,
    run           text NOT NULL,
    task          text NOT NULL,
    verb          text NOT NULL,
    result_path   text,
    result_sha256 char(64),
    summary       jsonb NOT NULL
);
COMMENT ON TABLE receipt IS 'Grain: one task of one DAG run; dag_id, run and task are as in the path, made safe for folders.';
CREATE INDEX receipt_by_run ON receipt (dag_id, run);
