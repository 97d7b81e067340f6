-- Purpose: the job platform. A queue of training jobs, the hosts and GPUs that run them, the leases that bind one GPU
-- to one attempt, the searches that jobs are trials of, and an event for every change of state.
-- Everything that must never be untrue is a constraint here, so that no program, old or frozen, can break it.

CREATE TABLE queue_policy (
    one             boolean PRIMARY KEY DEFAULT true CHECK (one),
    ageing          interval NOT NULL DEFAULT '1 hour' CHECK (ageing >= '0'),
    share_penalty   interval NOT NULL DEFAULT '5 minutes' CHECK (share_penalty >= '0'),
    share_cap       interval NOT NULL DEFAULT '6 hours' CHECK (share_cap >= '0'),
    lease           interval NOT NULL DEFAULT '30 seconds' CHECK (lease > '0'),
    heartbeat       interval NOT NULL DEFAULT '5 seconds' CHECK (heartbeat > '0'),
    retry           interval NOT NULL DEFAULT '30 seconds' CHECK (retry >= '0'),
    reserve_after   interval NOT NULL DEFAULT '30 minutes' CHECK (reserve_after >= '0'),
    reserved_share  double precision NOT NULL DEFAULT 0.01 CHECK (reserved_share BETWEEN 0 AND 1),
    CHECK (heartbeat < lease)
);
COMMENT ON TABLE queue_policy IS 'Grain: one row. The table [queue] of the settings, as the dispatcher that started last has it: the order of the queue is made of it.';
INSERT INTO queue_policy DEFAULT VALUES;

CREATE TABLE environment (
    name          text COLLATE "C" PRIMARY KEY,
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
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    reserved_for bigint  -- REFERENCES job, below
);
COMMENT ON TABLE worker IS 'Grain: one place that runs jobs: this machine, a Docker host, a Kubernetes namespace. Only an "up" one is offered new jobs; draining ones finish what they run. reserved_for: a job of several GPUs that waited long, for which this host is being emptied.';

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
    held_by    bigint,  -- REFERENCES attempt, below
    held_owner text,
    UNIQUE (worker, uuid)
);
COMMENT ON TABLE gpu IS 'Grain: one GPU, or one declared device of a machine without GPUs, or one slot of a cluster. Only "ok" ones are offered; foreign: somebody else''s process is on it. held_by, held_owner: the attempt that has the live lease, and its owner; the trigger on lease sets them.';
ALTER TABLE gpu SET (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_threshold = 200);
CREATE INDEX gpu_free ON gpu (worker) WHERE held_by IS NULL AND state = 'ok';
CREATE INDEX gpu_held ON gpu (held_by) WHERE held_by IS NOT NULL;

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
    owner        text COLLATE "C" NOT NULL,
    environment  text COLLATE "C" NOT NULL REFERENCES environment (name),
    command      text[] NOT NULL CHECK (cardinality(command) > 0),
    code         text,
    data         text[] NOT NULL DEFAULT '{}',
    variables    jsonb NOT NULL DEFAULT '{}',
    gpus         integer NOT NULL DEFAULT 1 CHECK (gpus BETWEEN 1 AND 64),
    generations  text[] COLLATE "C" NOT NULL DEFAULT '{}',
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
    order_at     timestamptz NOT NULL,
    not_before   timestamptz NOT NULL DEFAULT '-infinity',
    attempts     smallint NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    ended_at     timestamptz,
    CHECK ((ended_at IS NULL) = (state IN ('blocked', 'queued', 'running')))
)
-- The queue's rows change often, at its head: what is dead there has to go soon.
WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
COMMENT ON TABLE job IS 'Grain: one command of one user, to be run to one good end. key makes a submission safe to repeat; gpus are all on one host; stop asks a running job to end; priority 9 goes first. order_at: queued_at less one ageing interval a step of priority, set by a trigger; attempts: since it was last put into the queue by somebody.';
-- A lane is what may differ in whether it fits or what it costs its owner: (gpus, memory_mb, generations, environment,
-- owner). The first of each lane is one step into this index, however long the queue is.
CREATE INDEX job_queue ON job (gpus, memory_mb, generations, environment, owner, order_at, id) INCLUDE (not_before)
    WHERE state = 'queued';
CREATE INDEX job_gang ON job (gpus, memory_mb, generations, environment, order_at, id) INCLUDE (queued_at, not_before)
    WHERE state = 'queued' AND gpus > 1;
CREATE INDEX job_live ON job (state, id) WHERE state IN ('blocked', 'queued', 'running');
CREATE INDEX job_by_owner ON job (owner, id);
CREATE INDEX job_ended ON job (ended_at, id) WHERE ended_at IS NOT NULL;
ALTER TABLE worker ADD FOREIGN KEY (reserved_for) REFERENCES job (id) ON DELETE SET NULL;
CREATE UNIQUE INDEX worker_one_reservation ON worker (reserved_for) WHERE reserved_for IS NOT NULL;

CREATE FUNCTION place_in_queue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT NEW.queued_at - NEW.priority * p.ageing INTO NEW.order_at FROM queue_policy p;
    RETURN NEW;
END $$;
CREATE TRIGGER job_place BEFORE INSERT OR UPDATE OF priority, queued_at ON job FOR EACH ROW EXECUTE FUNCTION place_in_queue();

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
    cleared_at timestamptz,
    UNIQUE (job, number),
    CHECK ((ended_at IS NULL) = (state IN ('claimed', 'running')))
);
COMMENT ON TABLE attempt IS 'Grain: one time that a job was given GPUs. token grows with each dispatcher that takes it over: an older one''s writes match no row. cleared_at: when its container, pod or folder was removed; infinity: its output could not be kept, so it stays.';
ALTER TABLE gpu ADD FOREIGN KEY (held_by) REFERENCES attempt (id);
CREATE UNIQUE INDEX attempt_one_live ON attempt (job) WHERE ended_at IS NULL;
CREATE INDEX attempt_live_by_dispatcher ON attempt (dispatcher) WHERE ended_at IS NULL;
CREATE INDEX attempt_uncleared ON attempt (worker) WHERE ended_at IS NOT NULL AND cleared_at IS NULL;

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

-- A free GPU is one that its own row says is free: a claim that waited for the row sees at once that it is taken.
CREATE FUNCTION hold_gpu() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.released_at IS NULL THEN
        UPDATE gpu SET held_by = NEW.attempt, held_owner = j.owner
        FROM attempt a JOIN job j ON j.id = a.job WHERE gpu.id = NEW.gpu AND a.id = NEW.attempt;
    ELSE
        UPDATE gpu SET held_by = NULL, held_owner = NULL WHERE id = NEW.gpu AND held_by = NEW.attempt;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER lease_holds AFTER INSERT OR UPDATE OF released_at ON lease FOR EACH ROW EXECUTE FUNCTION hold_gpu();

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
COMMENT ON TABLE event IS 'Grain: one change of state of a job, attempt, lease, worker, gpu, environment or sweep; and of a job''s priority (what: job.priority) or stop (job.stop). actor: the user or program (setting eyewall.actor of its session).';
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

CREATE FUNCTION record_request() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.stop <> OLD.stop THEN
        INSERT INTO event (what, key, job, from_state, to_state, reason, actor)
        VALUES ('job.stop', NEW.id::text, NEW.id, OLD.stop, NEW.stop, NEW.reason, coalesce(current_setting('eyewall.actor', true), ''));
    END IF;
    IF NEW.priority <> OLD.priority THEN
        INSERT INTO event (what, key, job, from_state, to_state, actor)
        VALUES ('job.priority', NEW.id::text, NEW.id, OLD.priority::text, NEW.priority::text, coalesce(current_setting('eyewall.actor', true), ''));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER job_request AFTER UPDATE OF stop, priority ON job FOR EACH ROW EXECUTE FUNCTION record_request();

-- A host stays reserved only for a job that waits, and while it could run it.
CREATE FUNCTION drop_reservation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'job' THEN
        UPDATE worker SET reserved_for = NULL WHERE reserved_for = NEW.id;
    ELSIF TG_TABLE_NAME = 'worker' THEN
        UPDATE worker SET reserved_for = NULL WHERE name = NEW.name AND reserved_for IS NOT NULL;
    ELSE
        UPDATE worker SET reserved_for = NULL WHERE name = NEW.worker AND reserved_for IS NOT NULL;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER job_unreserves AFTER UPDATE OF state ON job FOR EACH ROW
    WHEN (OLD.state = 'queued' AND NEW.state <> 'queued' AND NEW.gpus > 1) EXECUTE FUNCTION drop_reservation();
CREATE TRIGGER worker_unreserves AFTER UPDATE OF state ON worker FOR EACH ROW
    WHEN (NEW.state <> 'up' AND NEW.reserved_for IS NOT NULL) EXECUTE FUNCTION drop_reservation();
CREATE TRIGGER gpu_unreserves AFTER UPDATE OF state ON gpu FOR EACH ROW
    WHEN (OLD.state = 'ok' AND NEW.state <> 'ok') EXECUTE FUNCTION drop_reservation();

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

CREATE TRIGGER environment_wakes AFTER INSERT OR UPDATE OF state ON environment FOR EACH ROW
    WHEN (NEW.state = 'built') EXECUTE FUNCTION wake_dispatchers();
CREATE TRIGGER job_wakes AFTER INSERT OR UPDATE OF state ON job FOR EACH ROW
    WHEN (NEW.state = 'queued') EXECUTE FUNCTION wake_dispatchers();
CREATE TRIGGER lease_wakes AFTER UPDATE OF released_at ON lease FOR EACH ROW
    WHEN (NEW.released_at IS NOT NULL) EXECUTE FUNCTION wake_dispatchers();
CREATE TRIGGER gpu_wakes AFTER INSERT ON gpu FOR EACH ROW
    WHEN (NEW.state = 'ok') EXECUTE FUNCTION wake_dispatchers();
CREATE TRIGGER gpu_wakes_again AFTER UPDATE OF state ON gpu FOR EACH ROW
    WHEN (NEW.state = 'ok' AND OLD.state <> 'ok') EXECUTE FUNCTION wake_dispatchers();
CREATE TRIGGER worker_wakes AFTER UPDATE OF state, reserved_for ON worker FOR EACH ROW
    WHEN (NEW.state = 'up' AND (OLD.state <> 'up' OR NEW.reserved_for IS NULL AND OLD.reserved_for IS NOT NULL))
    EXECUTE FUNCTION wake_dispatchers();
CREATE TRIGGER job_tells AFTER UPDATE OF state, stop ON job FOR EACH ROW EXECUTE FUNCTION tell_of_job();
CREATE TRIGGER report_tells AFTER INSERT ON report FOR EACH ROW EXECUTE FUNCTION tell_of_report();

-- Views: what everybody looks at, `eyewall job list`, the page and psql alike.

CREATE VIEW hindrance AS
WITH demand AS MATERIALIZED (
    SELECT DISTINCT gpus, memory_mb, generations, environment FROM job WHERE state = 'queued'
), device AS MATERIALIZED (
    SELECT g.worker, w.kind, w.state AS worker_state, w.reserved_for, g.generation, g.memory_mb, g.state, g.held_by
    FROM gpu g JOIN worker w ON w.name = g.worker
    WHERE g.state <> 'gone' AND w.state <> 'removed'
), host AS (
    SELECT
        d.gpus, d.memory_mb, d.generations, d.environment, v.worker, min(v.worker_state) AS worker_state,
        CASE min(v.kind) WHEN 'process' THEN min(e.folder) ELSE min(e.image) END IS NOT NULL AS can_run,
        min(v.reserved_for) AS reserved_for,
        count(*) AS n_there, count(*) FILTER (WHERE v.state = 'ok') AS n_ok,
        count(*) FILTER (WHERE v.state = 'ok' AND v.held_by IS NULL) AS n_free
    FROM demand d JOIN environment e ON e.name = d.environment JOIN device v
        ON v.memory_mb >= d.memory_mb AND (d.generations = '{}' OR v.generation = ANY(d.generations))
    GROUP BY d.gpus, d.memory_mb, d.generations, d.environment, v.worker
), best AS (
    SELECT
        d.gpus, d.memory_mb, d.generations, d.environment,
        coalesce(bool_or(h.n_there >= d.gpus), false) AS there,
        coalesce(bool_or(h.n_there >= d.gpus AND h.can_run), false) AS can_run,
        coalesce(bool_or(h.n_there >= d.gpus AND h.can_run AND h.worker_state = 'up'), false) AS up,
        coalesce(bool_or(h.n_ok >= d.gpus AND h.can_run AND h.worker_state = 'up'), false) AS ok,
        coalesce(bool_or(h.n_free >= d.gpus AND h.can_run AND h.worker_state = 'up'), false) AS free,
        coalesce(bool_or(h.n_free >= d.gpus AND h.can_run AND h.worker_state = 'up' AND h.reserved_for IS NULL), false) AS fits,
        min(h.reserved_for) FILTER (WHERE h.n_free >= d.gpus AND h.can_run AND h.worker_state = 'up') AS reserved_for,
        string_agg(h.worker || ' is ' || h.worker_state, ', ' ORDER BY h.worker)
            FILTER (WHERE h.n_there >= d.gpus AND h.can_run AND h.worker_state <> 'up') AS away
    FROM demand d LEFT JOIN host h USING (gpus, memory_mb, generations, environment)
    GROUP BY d.gpus, d.memory_mb, d.generations, d.environment
)
SELECT
    b.gpus, b.memory_mb, b.generations, b.environment, b.fits,
    CASE
        WHEN e.state = 'building' THEN format('environment %s is being built', e.name)
        WHEN e.state = 'failed' THEN format('environment %s could not be built', e.name)
        WHEN e.state <> 'built' THEN format('environment %s is not built', e.name)
        WHEN NOT EXISTS (SELECT FROM device) THEN 'no worker has any GPU: see `eyewall worker add`'
        WHEN NOT b.there THEN format('no worker has %s', w.wanted)
        WHEN NOT b.can_run THEN format('environment %s is not built for such a worker: it has no %s', e.name, CASE WHEN e.image IS NULL THEN 'image' ELSE 'folder' END)
        WHEN NOT b.up THEN format('worker %s', b.away)
        WHEN NOT b.ok THEN 'such GPUs have failed, or somebody else uses them'
        WHEN NOT b.free AND b.gpus > 1 THEN format('no worker has %s free on one host', w.wanted)
        WHEN NOT b.free THEN format('all %s are busy', w.wanted)
        WHEN NOT b.fits THEN format('free ones are kept for job %s', b.reserved_for)
        WHEN NOT EXISTS (SELECT FROM dispatcher i WHERE i.ended_at IS NULL AND i.heartbeat_at > clock_timestamp() - p.lease)
            THEN 'no dispatcher is running: see `eyewall job dispatch`'
        ELSE ''
    END AS why
FROM best b
JOIN environment e ON e.name = b.environment
CROSS JOIN queue_policy p
CROSS JOIN LATERAL (
    SELECT concat_ws(
        ' ',
        CASE WHEN b.gpus > 1 THEN b.gpus::text END, nullif(array_to_string(b.generations, ' or '), ''), 'GPUs',
        CASE WHEN b.memory_mb > 0 THEN format('of %s GiB', round(b.memory_mb / 1024.0, 1)) END
    ) AS wanted
) w;
COMMENT ON VIEW hindrance IS 'Grain: one demand (GPUs, memory, generations, environment) of the jobs in the queue: whether it fits now, and what is in its way in words; empty: nothing.';

CREATE VIEW queue_order AS
WITH share AS MATERIALIZED (
    SELECT g.held_owner AS owner, least(p.share_cap, count(*) * p.share_penalty) AS penalty
    FROM gpu g CROSS JOIN queue_policy p WHERE g.held_by IS NOT NULL GROUP BY g.held_owner, p.share_cap, p.share_penalty
), queued AS (
    SELECT
        row_number() OVER (ORDER BY j.order_at + coalesce(s.penalty, '0'), j.id) AS position,
        j.id, j.owner, j.name, j.state, j.priority, j.gpus, j.queued_at,
        j.order_at + coalesce(s.penalty, '0') AS score, coalesce(s.penalty, '0') AS penalty,
        CASE
            WHEN j.not_before > clock_timestamp()
                THEN format('tried again at %s UTC', to_char(j.not_before AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'))
            WHEN w.name IS NOT NULL THEN format('host %s is being emptied for it', w.name)
            WHEN h.why = '' THEN 'about to start'
            ELSE h.why
        END AS why
    FROM job j
    LEFT JOIN share s ON s.owner = j.owner
    LEFT JOIN worker w ON w.reserved_for = j.id
    LEFT JOIN hindrance h ON h.gpus = j.gpus AND h.memory_mb = j.memory_mb AND h.generations = j.generations
        AND h.environment = j.environment
    WHERE j.state = 'queued'
)
SELECT position, id AS job, owner, name, state, priority, gpus, queued_at, score, penalty, why FROM queued
UNION ALL
SELECT
    NULL, j.id, j.owner, j.name, j.state, j.priority, j.gpus, NULL, NULL, NULL,
    (
        SELECT 'after ' || string_agg(format('job %s (%s)', a.id, a.state), ', ' ORDER BY a.id)
        FROM job_dependency d JOIN job a ON a.id = d.after WHERE d.job = j.id AND a.state <> 'succeeded'
    )
FROM job j WHERE j.state = 'blocked';
COMMENT ON VIEW queue_order IS 'Grain: one job that waits. position: who goes first where all fit (NULL: it waits for other jobs); score: what that is sorted by, order_at plus the owner''s penalty of fair share; why: why it waits, in words.';

CREATE VIEW job_status AS
SELECT
    j.id, j.name, j.owner, j.state, q.why, j.environment, j.command, j.gpus, j.priority,
    a.number AS attempt, a.state AS attempt_state, a.worker,
    ARRAY(
        SELECT g.number FROM lease l JOIN gpu g ON g.id = l.gpu WHERE l.attempt = a.id ORDER BY g.number
    ) AS gpu_numbers,
    round(extract(epoch FROM coalesce(
        CASE WHEN j.state NOT IN ('blocked', 'queued') THEN coalesce(a.started_at, a.claimed_at, j.ended_at) END, clock_timestamp()
    ) - CASE j.state WHEN 'blocked' THEN j.submitted_at ELSE j.queued_at END)::numeric, 1) AS waited_s,
    round(extract(epoch FROM coalesce(a.ended_at, clock_timestamp()) - a.started_at)::numeric, 1) AS ran_s,
    r.metric, r.step, r.value, a.exit_code, j.reason, j.stop, j.submitted_at, j.queued_at, a.started_at, j.ended_at
FROM job j
LEFT JOIN queue_order q ON q.job = j.id
LEFT JOIN LATERAL (SELECT * FROM attempt t WHERE t.job = j.id ORDER BY t.number DESC LIMIT 1) a ON true
LEFT JOIN LATERAL (SELECT * FROM report t WHERE t.attempt = a.id ORDER BY t.at DESC, t.step DESC LIMIT 1) r ON true;
COMMENT ON VIEW job_status IS 'Grain: one job. why: why it waits; attempt to exit_code: of its last attempt; waited_s: from when it was queued to its last start, or until now; metric, step, value: what it reported last.';

CREATE VIEW gpu_occupancy AS
SELECT
    g.worker, w.kind, w.state AS worker_state, w.reserved_for, g.number, g.uuid, g.model, g.generation, g.memory_mb, g.declared,
    CASE WHEN g.held_by IS NOT NULL THEN 'busy' WHEN g.state = 'ok' THEN 'free' ELSE g.state END AS state,
    CASE WHEN g.state <> 'ok' THEN g.reason WHEN w.state <> 'up' THEN w.reason ELSE '' END AS reason,
    j.id AS job, j.name, j.owner, a.number AS attempt, a.state AS attempt_state, l.granted_at AS since,
    l.expires_at AS lease_until, l.expires_at < clock_timestamp() AS lease_expired
FROM gpu g
JOIN worker w ON w.name = g.worker
LEFT JOIN lease l ON l.gpu = g.id AND l.released_at IS NULL
LEFT JOIN attempt a ON a.id = l.attempt
LEFT JOIN job j ON j.id = a.job
WHERE (g.state <> 'gone' AND w.state <> 'removed') OR l.id IS NOT NULL;
COMMENT ON VIEW gpu_occupancy IS 'Grain: one GPU. state: free, busy, or why it is not offered (failed, foreign, gone); who is on it, since when; an expired lease keeps its GPU until another dispatcher has ended the attempt.';
