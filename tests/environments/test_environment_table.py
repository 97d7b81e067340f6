"""The table says what is built and what is being built, and what a killed build left is found out."""

# NOTE: injected by pytest, defined in conftests: connection, url, recipes, tiny, builder
import psycopg
import pytest
from environment_helpers import row

from eyewall.contracts.errors import EyewallError, InputError
from eyewall.environments import resolve, sync
from eyewall.environments.recipe import recipe_named
from eyewall.environments.table import building

NAME = "six-1.17"
IMAGE = "registry.example/eyewall-env-six-1.17@sha256:" + "ab" * 32


def events(connection):
    query = "SELECT from_state, to_state FROM event WHERE what = 'environment' AND key = %s ORDER BY id"
    return connection.execute(query, (NAME,)).fetchall()


def test_recipes_become_rows_once(connection, recipes, tiny):
    assert sync(connection, recipes) == [NAME]
    assert sync(connection, recipes) == []

    found = row(connection)
    assert (found.framework, found.version, found.state) == ("six", "1.17.0", "listed")
    assert found.recipe_sha256 == tiny.sha256("python:{python}-slim-bookworm")
    assert events(connection) == [(None, "listed")]


def test_a_recipe_without_a_lock_is_listed_with_the_reason(connection, recipes, tiny):
    tiny.lock_file.unlink()

    sync(connection, recipes)

    assert "has no lock" in row(connection).reason


def test_without_recipes_the_table_stays_as_it_is(connection, recipes, tmp_path, monkeypatch):
    sync(connection, recipes)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "eyewall.environments.recipe.__file__", str(tmp_path / "lib" / "eyewall" / "environments" / "x.py")
    )

    assert sync(connection) == []
    assert row(connection).state == "listed"


def test_a_changed_recipe_waits_until_it_is_built_while_jobs_use_what_there_is(connection, recipes):
    sync(connection, recipes)
    connection.execute("UPDATE environment SET image = %s, state = 'built'", (IMAGE,))
    before = row(connection)
    (recipes / "environments.yaml").write_text("six-1.17: {requirements: [six==1.17.0, idna]}\n")

    assert sync(connection, recipes) == []
    assert row(connection) == before
    assert resolve(connection, NAME, "docker").image == IMAGE


def test_sync_leaves_no_transaction_open(url, connection, recipes):
    with psycopg.connect(url) as other:
        sync(other, recipes)
        assert other.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert row(connection).name == NAME


@pytest.mark.parametrize(
    ("image", "folder", "kind", "sentence"),
    [
        pytest.param(None, None, None, "six-1.17 was not built: .*build six-1.17 --backend docker", id="nothing"),
        pytest.param(None, "/x", "docker", "six-1.17 has no image: .*--backend docker", id="no image"),
        pytest.param(None, "/x", "kubernetes", "six-1.17 has no image: .*--backend docker", id="no image for pods"),
        pytest.param(IMAGE, None, "process", "six-1.17 has no folder: .*--backend process", id="no folder"),
    ],
)
def test_what_is_not_built_for_a_worker_is_refused_with_the_command(connection, recipes, image, folder, kind, sentence):
    sync(connection, recipes)
    connection.execute("UPDATE environment SET image = %s, folder = %s", (image, folder))

    with pytest.raises(InputError, match=sentence):
        resolve(connection, NAME, kind)


def test_an_unknown_environment_is_refused_with_those_that_there_are(connection, recipes):
    connection.execute("DELETE FROM environment")
    with pytest.raises(InputError, match="no environment 'x': environments are none yet"):
        resolve(connection, "x")
    sync(connection, recipes)
    with pytest.raises(InputError, match=r"no environment \"x'; DROP TABLE job\": environments are six-1\.17"):
        resolve(connection, "x'; DROP TABLE job")


def build_that_raises(connection, error):
    with building(connection, NAME, print):
        connection.execute("UPDATE environment SET state = 'building'")
        raise error


def test_a_failure_is_a_state_with_its_sentence(connection, recipes):
    sync(connection, recipes)

    with pytest.raises(EyewallError, match="no room"):
        build_that_raises(connection, EyewallError("no room on the disk"))

    assert (row(connection).state, row(connection).reason) == ("failed", "no room on the disk")


def test_after_a_failure_what_was_built_before_is_still_built(connection, recipes):
    sync(connection, recipes)
    connection.execute("UPDATE environment SET image = %s, state = 'built'", (IMAGE,))

    with pytest.raises(KeyboardInterrupt):
        build_that_raises(connection, KeyboardInterrupt())

    assert (row(connection).state, row(connection).reason) == ("built", "interrupted by KeyboardInterrupt")
    assert resolve(connection, NAME, "docker").image == IMAGE


def test_a_build_is_seen_and_one_whose_session_is_gone_is_not_one(connection, url, recipes):
    sync(connection, recipes)
    with psycopg.connect(url, autocommit=True) as builders, building(builders, NAME, print):
        builders.execute("UPDATE environment SET state = 'building'")
        assert row(connection).being_built
        assert sync(connection, recipes) == []  # it is true: somebody builds it

        connection.execute("SELECT pg_terminate_backend(%s)", (builders.info.backend_pid,))
        while row(connection).being_built:
            pass
        assert sync(connection, recipes) == [NAME]

    assert (row(connection).state, row(connection).reason) == (
        "failed",
        "its build was killed; the same command goes on",
    )


def test_another_builder_waits_for_its_turn(connection, url, recipes):
    sync(connection, recipes)
    said = []
    with psycopg.connect(url, autocommit=True) as second:
        second.execute("SET statement_timeout = '200ms'")
        both = (building(connection, NAME, print), pytest.raises(psycopg.errors.QueryCanceled))
        with both[0], both[1], building(second, NAME, said.append):
            pytest.fail("both build it")
        with building(second, NAME, said.append):
            assert row(connection).being_built
    assert said == ["another process builds it: waiting for that one"]
    assert not row(connection).being_built


def test_a_new_recipe_takes_the_place_of_both_builds_of_the_old_one(builder, connection, recipes, tiny):
    """One name means the same packages everywhere: an image of the old recipe beside a folder of the new would not."""
    sync(connection, recipes)
    connection.execute("UPDATE environment SET image = %s, state = 'built'", (IMAGE,))
    builder._record(
        "environments/record_folder", tiny, row(connection).recipe_sha256, 1.0, {"folder": "/a", "size_bytes": 2}
    )
    assert (row(connection).image, row(connection).folder) == (IMAGE, "/a")

    (recipes / "environments.yaml").write_text("six-1.17: {requirements: [six==1.17.0], omit: [idna]}\n")
    newer = recipe_named(NAME, recipes)
    builder._record("environments/record_folder", newer, "cd" * 32, 1.0, {"folder": "/b", "size_bytes": 2})

    assert (row(connection).image, row(connection).folder, row(connection).recipe_sha256) == (None, "/b", "cd" * 32)
