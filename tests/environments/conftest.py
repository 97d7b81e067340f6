"""Recipes of a few kilobytes, a real database of each test's own, and a builder in a folder of its own."""

import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from docker_engine import engine  # noqa: F401

from eyewall.contracts.settings import Settings
from eyewall.db.connect import Connection, connected
from eyewall.environments.build import Builder
from eyewall.environments.lock import make_lock
from eyewall.environments.recipe import Recipe, recipe_named
from eyewall.platform import postgres

ROOT = Path(__file__).resolve().parents[2]
#: One pure-Python package of 11 kB: an environment in a second.
TINY = "six-1.17"
TINY_ENTRY = f"{TINY}: {{requirements: [six==1.17.0], check: six.PY3}}\n"


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Folder of the server's socket; not in pytest's own, which another run closes to the server's user."""
    with tempfile.TemporaryDirectory(prefix="eyewall-environments-") as name:
        folder = Path(name) / "postgres"
        socket_folder = postgres.start(folder)
        with psycopg.connect(postgres.uri(socket_folder, "postgres"), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")  # a crash of the machine may lose these
            connection.execute("SELECT pg_reload_conf()")
        yield socket_folder
        postgres.stop(folder)


@pytest.fixture(scope="session")
def template(server: str) -> str:
    """Name of a database with the schema, which every test's own is a copy of."""
    name = "eyewall_template"
    with psycopg.connect(postgres.uri(server, "postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    with connected(postgres.uri(server, name)):
        pass
    return name


@pytest.fixture
def url(server: str, template: str) -> str:
    """URL of a database of this test's own: the schema, and nothing in it."""
    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres.uri(server, "postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return postgres.uri(server, name)


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    """A connection to this test's database, in autocommit, as builds want it."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def tiny_recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recipes with TINY, locked."""
    folder = tmp_path_factory.mktemp("recipes")
    shutil.copytree(ROOT / "images" / "environment", folder / "environment")
    (folder / "environments.yaml").write_text(TINY_ENTRY)
    make_lock(recipe_named(TINY, folder), folder / "wheels")
    return folder


@pytest.fixture
def recipes(tiny_recipes: Path, tmp_path: Path) -> Path:
    """A copy of `tiny_recipes` that a test may change."""
    return Path(shutil.copytree(tiny_recipes, tmp_path / "recipes"))


@pytest.fixture
def tiny(recipes: Path) -> Recipe:
    """The recipe TINY."""
    return recipe_named(TINY, recipes)


@pytest.fixture
def builder(connection: Connection, tmp_path: Path) -> Builder:
    """Builds below this test's folder."""
    return Builder(connection, Settings(), tmp_path / "var")


@pytest.fixture
def unused_tcp_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
