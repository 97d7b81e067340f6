"""What a dispatcher makes sure of before it begins: the rules of the queue, the environment "local", and workers."""

import platform
import sys

from eyewall.contracts.layout import digest_of
from eyewall.contracts.settings import Settings
from eyewall.db.connect import Connection
from eyewall.db.statements import statement
from eyewall.jobs.policy import set_policy
from eyewall.jobs.process.machine import as_registered
from eyewall.jobs.process.runner import LOCAL_ENVIRONMENT
from eyewall.jobs.runner import Worker
from eyewall.jobs.workers import upsert_worker

#: The worker of an installation that names none: this machine.
LOCAL_WORKER = "local"


def install(connection: Connection, settings: Settings, actor: str) -> list[str]:
    """Put the settings' rules and workers into the database; names of the workers that were registered.

    An installation without any worker gets this machine as ``local``.
    """
    set_policy(connection, settings.queue, actor)
    add_local_environment(connection)
    named = [Worker(name, each.kind, each.url, each.options) for name, each in settings.workers.items()]
    if not named and not connection.execute(statement("jobs/workers"), {"names": None}).fetchall():
        named = [Worker(LOCAL_WORKER, "process")]
    for worker in named:
        upsert_worker(connection, as_registered(worker))
    return [worker.name for worker in named]


def ensure_local_environment(connection: Connection) -> None:
    """Let a job name the environment ``local`` before the first dispatcher has started here."""
    if (LOCAL_ENVIRONMENT,) not in connection.execute(statement("jobs/environment_names")).fetchall():
        add_local_environment(connection)


def add_local_environment(connection: Connection) -> None:
    """The environment ``local``: the interpreter that runs this, for process workers."""
    version = platform.python_version()
    values = {"version": version, "recipe_sha256": digest_of({LOCAL_ENVIRONMENT: version}), "folder": sys.prefix}
    with connection.transaction():
        connection.execute(statement("jobs/upsert_local_environment"), values)
