"""Recipes of a few kilobytes, a real database of each test's own, and a builder in a folder of its own."""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from docker_engine import engine  # noqa: F401
from real_postgres import copy_of, fast_server, with_schema

from eyewall.contracts.settings import Settings
from eyewall.db.connect import Connection
from eyewall.environments.build import Builder
from eyewall.environments.lock import make_lock
from eyewall.environments.recipe import Recipe, recipe_named

ROOT = Path(__file__).resolve().parents[2]
#: One pure-Python package of 11 kB: an environment in a second.
TINY = "six-1.17"
TINY_ENTRY = f"{TINY}: {{requirements: [six==1.17.0], check: six.PY3}}\n"


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Folder of the server's socket."""
    with fast_server("environments") as socket:
        yield socket


@pytest.fixture(scope="session")
def template(server: str) -> str:
    """Name of a database with the schema, which every test's own is a copy of."""
    return with_schema(server)


@pytest.fixture
def url(server: str, template: str) -> str:
    """URL of a database of this test's own: the schema, and nothing in it."""
    return copy_of(server, template)[1]


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
