"""The rules of the queue live in the database, where the statements and the views read them; here they get there."""

from eyewall.contracts.queueing import QueueSettings
from eyewall.db.connect import Connection
from eyewall.db.statements import statement
from eyewall.jobs.queue import acting


def set_policy(connection: Connection, settings: QueueSettings, actor: str) -> bool:
    """Put ``settings`` in force; whether that changed anything. What waits gets its place by the new rules at once."""
    with acting(connection, actor):
        row = connection.execute(statement("jobs/set_policy"), settings.columns()).fetchone()
        if row is not None and row[0]:
            connection.execute(statement("jobs/place_again"))
    return row is not None
