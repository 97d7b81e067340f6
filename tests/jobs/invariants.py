"""What must never be found in the database, whoever did whatever: each query gives the rows that break a claim."""

from typing import Any

from eyewall.db.connect import Connection

#: True at any moment, also in the middle of what many dispatchers do at once.
ALWAYS = {
    "a GPU has one live lease at most": """
        SELECT gpu FROM lease WHERE released_at IS NULL GROUP BY gpu HAVING count(*) > 1""",
    "a job has one live attempt at most": """
        SELECT job FROM attempt WHERE ended_at IS NULL GROUP BY job HAVING count(*) > 1""",
    "running jobs have a live attempt, and no others do": """
        SELECT j.id FROM job j LEFT JOIN attempt a ON a.job = j.id AND a.ended_at IS NULL
        WHERE (j.state = 'running') <> (a.id IS NOT NULL)""",
    "live attempts have as many live leases as their job asked for, on one host; ended ones have none": """
        SELECT a.id FROM attempt a JOIN job j ON j.id = a.job
        LEFT JOIN lease l ON l.attempt = a.id AND l.released_at IS NULL LEFT JOIN gpu g ON g.id = l.gpu
        GROUP BY a.id, j.gpus
        HAVING count(l.id) <> CASE WHEN a.ended_at IS NULL THEN j.gpus ELSE 0 END
            OR bool_or(g.worker <> a.worker) OR count(DISTINCT g.host) > 1""",
    "a GPU's row says who has its lease": """
        SELECT g.id FROM gpu g LEFT JOIN lease l ON l.gpu = g.id AND l.released_at IS NULL
        WHERE g.held_by IS DISTINCT FROM l.attempt OR (g.held_by IS NULL) <> (g.held_owner IS NULL)""",
    "blocked jobs wait for one that may yet succeed, and for none that will not": """
        SELECT j.id FROM job j JOIN job_dependency d ON d.job = j.id JOIN job a ON a.id = d.after
        WHERE j.state = 'blocked' GROUP BY j.id
        HAVING NOT bool_or(a.state IN ('blocked', 'queued', 'running'))
            OR bool_or(a.state IN ('failed', 'cancelled', 'pruned'))""",
    "only running jobs are asked to stop, and those that ended so": """
        SELECT id FROM job WHERE stop <> '' AND state NOT IN ('running', stop)""",
    "hosts are reserved for jobs in the queue alone": """
        SELECT w.name FROM worker w JOIN job j ON j.id = w.reserved_for WHERE j.state <> 'queued'""",
    "a job's place is its time less its priority": """
        SELECT id FROM job WHERE order_at <> queued_at - priority * interval '1 hour'""",
    "events lead from state to state without a gap": """
        SELECT id FROM (
            SELECT *, lag(to_state) OVER (PARTITION BY what, key ORDER BY id) AS before FROM event
        ) e WHERE from_state IS DISTINCT FROM before AND what NOT LIKE 'job.%'""",
    "the last event of a job is its state": """
        SELECT j.id FROM job j WHERE j.state IS DISTINCT FROM (
            SELECT to_state FROM event e WHERE e.what = 'job' AND e.key = j.id::text ORDER BY e.id DESC LIMIT 1)""",
    "the last event of an attempt is its state": """
        SELECT a.id FROM attempt a WHERE a.state IS DISTINCT FROM (
            SELECT to_state FROM event e WHERE e.what = 'attempt' AND e.key = a.id::text ORDER BY e.id DESC LIMIT 1)""",
    "every event of a job names its actor": """
        SELECT id FROM event WHERE job IS NOT NULL AND actor = ''""",
    "every job that waits is in the view of the queue with a reason, and no other is": """
        SELECT j.id FROM job j LEFT JOIN queue_order q ON q.job = j.id
        WHERE (j.state IN ('blocked', 'queued')) <> (coalesce(q.why, '') <> '')""",
}


def broken(connection: Connection) -> list[tuple[str, Any]]:
    """(claim, row) of everything that breaks one, in one snapshot each."""
    return [(claim, row) for claim, sql in ALWAYS.items() for row in connection.execute(sql.encode())]
