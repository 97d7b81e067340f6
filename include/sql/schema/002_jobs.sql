-- Purpose: the job platform. A queue of training jobs, the hosts and GPUs that run them, the leases that bind one GPU
-- to one attempt, the searches that jobs are trials of, and an event for every change of state.
-- Everything that must never be untrue is a constraint here, so that no program, old or frozen, can break it.

CREATE TABLE environment (
    name          text PRIMARY KEY,
    framework     text NOT NULL,
    version       text NOT NULL,
    recipe_sha256 char(64) NOT NULL,
    image         text CHECK (image ~ '@sha256:[0-9a-f]{64}$'),
    folder        text,
    size_bytes    bigint,
    build_s       double precision,
    state         text NOT NULL DEFAULT 'listed' CHECK (state IN ('listed', 'building', 'built', 'failed')),
    reason        text NOT NULL DEFAULT '',
    built_at      timestamptz
);
COMMENT ON TABLE environment IS 'Grain: one framework and version that jobs can ask for. image (by digest) is what containers run; folder is what the process backend runs.';

CREATE TABLE worker (
    name    text PRIMARY KEY,
    kind    text NOT NULL CHECK (kind IN ('process', 'docker', 'kubernetes')),
    url     text NOT NULL DEFAULT '',
    options jsonb NOT NULL DEFAULT '{}',
    state   text NOT NULL DEFAULT 'up' CHECK (state IN ('up', 'draining', 'unreachable', 'removed')),
    reason  text NOT NULL DEFAULT '',
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE worker IS 'Grain: one place that runs jobs: this machine, a Docker host, a Kubernetes namespace. Only an "up" one is offered new jobs; draining ones finish what they run.';

CREATE TABLE gpu (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    worker     text NOT NULL REFERENCES worker (name),
    number     integer NOT NULL CHECK (number >= 0),
    uuid       text NOT NULL,
    model      text NOT NULL DEFAULT '',
    generation text NOT NULL DEFAULT 'any',
    memory_mb  bigint NOT NULL DEFAULT 0 CHECK (memory_mb >= 0),
    declared   boolean NOT NULL DEFAULT false,
    state      text NOT NULL DEFAULT 'ok' CHECK (state IN ('ok', 'failed', 'foreign', 'gone')),
    reason     text NOT NULL DEFAULT '',
    checked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (worker, uuid)
);
COMMENT ON TABLE gpu IS 'Grain: one GPU, or one declared device of a machine without GPUs, or one slot of a cluster. Only "ok" ones are offered; foreign: somebody else''s process is on it.';

CREATE TABLE sweep (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL UNIQUE,
    owner      text NOT NULL,
    spec       jsonb NOT NULL,
    state      text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'finished', 'stopped', 'failed')),
    reason     text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at   timestamptz
);
COMMENT ON TABLE sweep IS 'Grain: one search. Its study (trials, values) is Optuna''s, in the schema optuna of this database, under the sweep''s name.';

CREATE TABLE job (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key          text UNIQUE,
    name         text NOT NULL DEFAULT '',
    owner        text NOT NULL,
    environment  text NOT NULL REFERENCES environment (name),
    command      text[] NOT NULL CHECK (cardinality(command) > 0),
    code         text,
    data         text[] NOT NULL DEFAULT '{}',
    variables    jsonb NOT NULL DEFAULT '{}',
    gpus         integer NOT NULL DEFAULT 1 CHECK (gpus BETWEEN 1 AND 64),
    generations  text[] NOT NULL DEFAULT '{}',
    memory_mb    bigint NOT NULL DEFAULT 0 CHECK (memory_mb >= 0),
    priority     smallint NOT NULL DEFAULT 5 CHECK (priority BETWEEN 0 AND 9),
    max_s        integer CHECK (max_s > 0),
    max_attempts smallint NOT NULL DEFAULT 3 CHECK (max_attempts BETWEEN 1 AND 100),
    state        text NOT NULL DEFAULT 'queued'
                 CHECK (state IN ('blocked', 'queued', 'running', 'succeeded', 'failed', 'cancelled', 'pruned')),
    reason       text NOT NULL DEFAULT '',
    stop         text NOT NULL DEFAULT '' CHECK (stop IN ('', 'cancelled', 'pruned')),
    submitted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    queued_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    not_before   timestamptz NOT NULL DEFAULT '-infinity',
    ended_at     timestamptz
);
COMMENT ON TABLE job IS 'Grain: one command of one user, to be run to one good end. key makes a submission safe to repeat; gpus are all on one host; stop asks a running job to end; priority 9 goes first.';

CREATE TABLE job_dependency (
    job   bigint NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    after bigint NOT NULL REFERENCES job (id),
    PRIMARY KEY (job, after),
    CHECK (after < job)  -- a job can only wait for earlier ones: no circles
);
COMMENT ON TABLE job_dependency IS 'Grain: one job that waits for another to succeed.';
CREATE INDEX job_dependency_by_after ON job_dependency (after);

CREATE TABLE trial (
    job    bigint PRIMARY KEY REFERENCES job (id) ON DELETE CASCADE,
    sweep  bigint NOT NULL REFERENCES sweep (id),
    number integer NOT NULL CHECK (number >= 0),
    params jsonb NOT NULL,
    value  double precision,
    UNIQUE (sweep, number)
);
COMMENT ON TABLE trial IS 'Grain: one trial of a search, and the job that runs it. number is Optuna''s; value is the objective, once the trial has one.';

CREATE TABLE dispatcher (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host         text NOT NULL,
    pid          integer NOT NULL,
    backend_pid  integer NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at     timestamptz
);
COMMENT ON TABLE dispatcher IS 'Grain: one process that starts and watches jobs. While it lives it holds the advisory lock (1702454647, id) in the session backend_pid.';

CREATE TABLE attempt (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job        bigint NOT NULL REFERENCES job (id),
    number     integer NOT NULL CHECK (number > 0),
    worker     text NOT NULL REFERENCES worker (name),
    dispatcher bigint NOT NULL REFERENCES dispatcher (id),
    token      integer NOT NULL DEFAULT 1,
    image      text,
    state      text NOT NULL DEFAULT 'claimed'
               CHECK (state IN ('claimed', 'running', 'succeeded', 'failed', 'cancelled', 'pruned', 'lost')),
    reason     text NOT NULL DEFAULT '',
    exit_code  integer,
    claimed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz,
    ended_at   timestamptz,
    UNIQUE (job, number),
    CHECK ((ended_at IS NULL) = (state IN ('claimed', 'running')))
);
COMMENT ON TABLE attempt IS 'Grain: one time that a job was given GPUs. token grows with each dispatcher that takes it over: an older one''s writes match no row.';
CREATE UNIQUE INDEX attempt_one_live ON attempt (job) WHERE ended_at IS NULL;
CREATE INDEX attempt_live_by_dispatcher ON attempt (dispatcher) WHERE ended_at IS NULL;

CREATE TABLE lease (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gpu          bigint NOT NULL REFERENCES gpu (id),
    attempt      bigint NOT NULL REFERENCES attempt (id),
    granted_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at   timestamptz NOT NULL,
    released_at  timestamptz
);
COMMENT ON TABLE lease IS 'Grain: one GPU lent to one attempt. An expired lease does not free its GPU: it lets another dispatcher take the attempt over, which ends it first.';
CREATE UNIQUE INDEX lease_one_live ON lease (gpu) WHERE released_at IS NULL;
CREATE INDEX lease_by_attempt ON lease (attempt);

CREATE TABLE report (
    attempt bigint NOT NULL REFERENCES attempt (id) ON DELETE CASCADE,
    metric  text NOT NULL,
    step    bigint NOT NULL,
    value   double precision NOT NULL,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (attempt, metric, step)
);
COMMENT ON TABLE report IS 'Grain: one value of one metric at one step, as the job printed it.';

CREATE TABLE event (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    what       text NOT NULL,
    key        text NOT NULL,
    job        bigint,
    from_state text,
    to_state   text NOT NULL,
    reason     text NOT NULL DEFAULT '',
    actor      text NOT NULL DEFAULT ''
);
COMMENT ON TABLE event IS 'Grain: one change of state of a job, attempt, lease, worker, gpu, environment or sweep. actor: the user or program (setting eyewall.actor of its session).';
CREATE INDEX event_by_job ON event (job, id) WHERE job IS NOT NULL;

-- A row in event for every change of state, whoever makes it, psql included.
CREATE FUNCTION record_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    is_new boolean := TG_OP = 'INSERT';
    row_new jsonb := to_jsonb(NEW);
    row_old jsonb := CASE WHEN TG_OP = 'INSERT' THEN '{}'::jsonb ELSE to_jsonb(OLD) END;
    old_state text;
    new_state text;
    of_job bigint;
BEGIN
    IF TG_TABLE_NAME = 'lease' THEN
        new_state := CASE WHEN row_new ->> 'released_at' IS NULL THEN 'granted' ELSE 'released' END;
        old_state := CASE WHEN is_new THEN NULL WHEN row_old ->> 'released_at' IS NULL THEN 'granted' ELSE 'released' END;
        SELECT a.job INTO of_job FROM attempt a WHERE a.id = (row_new ->> 'attempt')::bigint;
    ELSE
        new_state := row_new ->> 'state';
        old_state := row_old ->> 'state';
        of_job := CASE TG_TABLE_NAME
            WHEN 'job' THEN (row_new ->> 'id')::bigint
            WHEN 'attempt' THEN (row_new ->> 'job')::bigint
        END;
    END IF;
    IF new_state IS DISTINCT FROM old_state THEN
        INSERT INTO event (what, key, job, from_state, to_state, reason, actor)
        VALUES (
            TG_TABLE_NAME, coalesce(row_new ->> 'id', row_new ->> 'name'), of_job, old_state, new_state,
            coalesce(row_new ->> 'reason', ''), coalesce(current_setting('eyewall.actor', true), '')
        );
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER job_event AFTER INSERT OR UPDATE OF state ON job FOR EACH ROW EXECUTE FUNCTION record_event();
CREATE TRIGGER attempt_event AFTER INSERT OR UPDATE OF state ON attempt FOR EACH ROW EXECUTE FUNCTION record_event();
CREATE TRIGGER lease_event AFTER INSERT OR UPDATE OF released_at ON lease FOR EACH ROW EXECUTE FUNCTION record_event();
CREATE TRIGGER worker_event AFTER INSERT OR UPDATE OF state ON worker FOR EACH ROW EXECUTE FUNCTION record_event();
CREATE TRIGGER gpu_event AFTER INSERT OR UPDATE OF state ON gpu FOR EACH ROW EXECUTE FUNCTION record_event();
CREATE TRIGGER environment_event AFTER INSERT OR UPDATE OF state ON environment FOR EACH ROW EXECUTE FUNCTION record_event();
CREATE TRIGGER sweep_event AFTER INSERT OR UPDATE OF state ON sweep FOR EACH ROW EXECUTE FUNCTION record_event();

-- Channels. eyewall_queue: something may be startable now (payload empty, so that many in a transaction are one).
-- eyewall_job: a job changed state (payload: its id). eyewall_stop: a running job is to end (payload: its id).
-- eyewall_report: a trial reported (payload: its job's id).
CREATE FUNCTION wake_dispatchers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('eyewall_queue', '');
    RETURN NULL;
END $$;
CREATE FUNCTION tell_of_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.stop <> '' AND OLD.stop = '' AND NEW.state = 'running' THEN
        PERFORM pg_notify('eyewall_stop', NEW.id::text);
    END IF;
    IF NEW.state <> OLD.state THEN
        PERFORM pg_notify('eyewall_job', NEW.id::text);
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION tell_of_report() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    trial_job bigint;
BEGIN
    SELECT t.job INTO trial_job FROM attempt a JOIN trial t ON t.job = a.job WHERE a.id = NEW.attempt;
    IF trial_job IS NOT NULL THEN
        PERFORM pg_notify('eyewall_report', trial_job::text);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER job_wakes AFTER INSERT OR UPDATE OF state ON job FOR EACH ROW
    WHEN (NEW.state = 'queued') EXECUTE FUNCTION wake_dispatchers();
CREATE TRIGGER lease_wakes AFTER UPDATE OF released_at ON lease FOR EACH ROW
    WHEN (NEW.released_at IS NOT NULL) EXECUTE FUNCTION wake_dispatchers();
CREATE TRIGGER gpu_wakes AFTER INSERT OR UPDATE OF state ON gpu FOR EACH ROW
    WHEN (NEW.state = 'ok') EXECUTE FUNCTION wake_dispatchers();
CREATE TRIGGER worker_wakes AFTER UPDATE OF state ON worker FOR EACH ROW
    WHEN (NEW.state = 'up') EXECUTE FUNCTION wake_dispatchers();
CREATE TRIGGER job_tells AFTER UPDATE OF state, stop ON job FOR EACH ROW EXECUTE FUNCTION tell_of_job();
CREATE TRIGGER report_tells AFTER INSERT ON report FOR EACH ROW EXECUTE FUNCTION tell_of_report();
