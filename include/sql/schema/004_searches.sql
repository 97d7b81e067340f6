-- Purpose: searches that dispatchers see to, so that nobody has to sit and wait for one; and who asked for it.

ALTER TABLE sweep
    ADD COLUMN by_dispatcher boolean NOT NULL DEFAULT false,
    ADD COLUMN key text NOT NULL DEFAULT '';
COMMENT ON COLUMN sweep.by_dispatcher IS 'Dispatchers keep it going; false: whoever says `eyewall sweep run` does.';
COMMENT ON COLUMN sweep.key IS 'Task of Airflow that asked for it: dag/run/task, as the key of a job.';
CREATE INDEX sweep_running ON sweep (id) WHERE state = 'running';

-- Whoever runs a search holds the advisory lock (1702454648, id) for as long as his session lives.
CREATE VIEW search_to_run AS
SELECT s.id, s.name
FROM sweep s
WHERE s.by_dispatcher
    AND (
        s.state = 'running'
        OR EXISTS (
            SELECT FROM trial t JOIN job j ON j.id = t.job
            WHERE t.sweep = s.id AND j.state IN ('blocked', 'queued', 'running')
        )
    )
    AND NOT EXISTS (
        SELECT
        FROM pg_locks l
        WHERE l.locktype = 'advisory' AND l.granted
            AND l.classid = 1702454648 AND l.objid = s.id::oid AND l.objsubid = 2
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    );
COMMENT ON VIEW search_to_run IS 'Grain: one search that a dispatcher is to see to, as nobody runs it now.';

-- Channel eyewall_sweep: a search is new, changed its state, or is left to dispatchers (payload: its id).
CREATE FUNCTION tell_of_sweep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('eyewall_sweep', NEW.id::text);
    IF NEW.by_dispatcher AND NEW.state = 'running' THEN
        PERFORM pg_notify('eyewall_queue', '');  -- so that a dispatcher is started where none is alive
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER sweep_tells AFTER INSERT OR UPDATE OF state, by_dispatcher ON sweep FOR EACH ROW EXECUTE FUNCTION tell_of_sweep();
