"""A folder of the process backend is whole or not there, is made once, and does what its recipe says."""

# NOTE: injected by pytest, defined in conftests: builder, connection, recipes, tiny, url
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from environment_helpers import quiet, row, write_wheel

from eyewall.contracts.errors import EyewallError, InputError
from eyewall.environments import resolve, sync, verify
from eyewall.environments.lock import make_lock, wheels_of
from eyewall.environments.recipe import read_recipes, recipe_named


def tree(folder):
    return {path: path.lstat().st_mtime_ns for path in Path(folder).rglob("*")}


def test_a_line_and_a_command_make_a_folder_that_jobs_can_run_in(builder, connection, tiny):
    outcome = builder.build(tiny, "process", quiet)

    assert outcome.fresh
    found = resolve(connection, tiny.name, "process")
    assert (found.state, found.folder) == ("built", outcome.where)
    assert found.size_bytes > 11_000
    assert Path(outcome.where).name == f"six-1.17-{found.recipe_sha256[:12]}"
    said = subprocess.run(
        [f"{found.folder}/bin/python", "-c", "import six, eyewall; eyewall.report(3, loss=0.5); print(six.PY3)"],
        capture_output=True, text=True, check=True, cwd="/", env={},
    )  # fmt: skip
    assert said.stdout == 'eyewall-report {"step": 3, "metric": "loss", "value": 0.5}\nTrue\n'
    assert builder.verify(tiny, "process") == "six 1.17.0, 1 packages as locked"


def test_of_eyewall_there_is_the_report_alone(builder, tiny):
    folder = builder.build(tiny, "process", quiet).where
    (package,) = Path(folder).glob("lib/python3*/site-packages/eyewall")

    assert sorted(path.name for path in package.iterdir() if path.is_file()) == ["__init__.py", "report.py"]


def test_a_second_build_touches_nothing(builder, connection, tiny):
    first = builder.build(tiny, "process", quiet)
    before, row_before = tree(first.where), row(connection)

    second = builder.build(tiny, "process", quiet)

    assert (second.fresh, second.where) == (False, first.where)
    assert tree(first.where) == before
    assert row(connection) == row_before


def test_a_folder_that_somebody_removed_is_made_again(builder, tiny):
    folder = builder.build(tiny, "process", quiet).where
    shutil.rmtree(folder)
    with pytest.raises(EyewallError, match=r"bin/python cannot be run: No such file .*; build it again"):
        builder.verify(tiny, "process")

    assert builder.build(tiny, "process", quiet).fresh
    assert builder.verify(tiny, "process")


def test_a_package_that_somebody_changed_is_found(builder, tiny):
    folder = builder.build(tiny, "process", quiet).where
    (info,) = Path(folder).glob("lib/python3*/site-packages/six-1.17.0.dist-info")
    metadata = info / "METADATA"
    changed = metadata.read_text().replace("Version: 1.17.0", "Version: 1.16.0")
    metadata.unlink()  # not in place: it is a link to the one in uv's cache
    metadata.write_text(changed)

    with pytest.raises(EyewallError, match=r"not what its recipe says: six is 1\.16\.0, not 1\.17\.0"):
        builder.verify(tiny, "process")


@pytest.mark.parametrize(
    ("code", "check", "sentence"),
    [
        pytest.param(
            "raise OSError('libcuda is not here')", "True", "import eyewalltestpkg: OSError: libcuda", id="import"
        ),
        pytest.param("x = 3.0", "eyewalltestpkg.x * 4 == 13", r"eyewalltestpkg.x \* 4 == 13 is not true", id="wrong"),
        pytest.param("x = 3.0", "eyewalltestpkg.y", "AttributeError: module 'eyewalltestpkg' has no", id="check fails"),
        pytest.param("import os; os._exit(132)", "True", "ended its Python with 132", id="dies at import"),
        pytest.param("print('x' * 100_000)", "eyewalltestpkg.y", "has no attribute 'y'", id="prints a lot"),
    ],
)
def test_what_does_not_work_is_not_recorded_as_built(builder, connection, recipes, code, check, sentence):
    (recipes / "environments.yaml").write_text(
        f"eyewalltestpkg-2.1: {{requirements: [eyewalltestpkg==2.1.3+cpu], check: '{check}'}}\n"
    )
    recipe = recipe_named("eyewalltestpkg-2.1", recipes)
    write_wheel(wheels_of(recipe, builder.root), code=code)
    make_lock(recipe, builder.root)

    with pytest.raises(EyewallError, match=sentence) as caught:
        builder.build(recipe, "process", quiet)

    found = row(connection, recipe.name)
    assert (found.state, found.folder, found.reason) == ("failed", None, str(caught.value))
    assert [path.name for path in builder.root.iterdir()] == ["wheels"]


def test_a_wheel_that_no_index_has_is_installed(builder, recipes):
    (recipes / "environments.yaml").write_text(
        "eyewalltestpkg-2.1: {requirements: [eyewalltestpkg==2.1.3+cpu], check: eyewalltestpkg.x == 3}\n"
    )
    recipe = recipe_named("eyewalltestpkg-2.1", recipes)
    write_wheel(wheels_of(recipe, builder.root), code="x = 3\n")
    make_lock(recipe, builder.root)

    builder.build(recipe, "process", quiet)

    assert builder.verify(recipe, "process") == "eyewalltestpkg 2.1.3+cpu, 1 packages as locked"


def test_a_python_that_this_machine_has_not_is_refused_in_one_sentence(builder, connection, recipes, tmp_path):
    (recipes / "environments.yaml").write_text("six-1.17: {requirements: [six==1.17.0], python: '3.99'}\n")
    (recipe,) = read_recipes(recipes).values()
    recipe.lock_file.write_text(f"# {recipe.asks_for}\nsix==1.17.0\n")

    with pytest.raises(EyewallError, match=r"six-1\.17, process: .*3\.99"):
        builder.build(recipe, "process", quiet)
    assert row(connection).state == "failed"


def test_a_recipe_without_a_lock_is_refused_before_anything_begins(builder, connection, tiny):
    tiny.lock_file.unlink()

    with pytest.raises(InputError, match="has no lock"):
        builder.build(tiny, "process", quiet)
    assert not builder.root.exists()


def test_an_older_recipe_does_not_verify(builder, recipes, tiny):
    builder.build(tiny, "process", quiet)
    dockerfile = recipes / "environment" / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text() + "# changed\n")

    with pytest.raises(EyewallError, match=r"is built from an older recipe \([0-9a-f]{12}, now [0-9a-f]{12}\)"):
        builder.verify(tiny, "process")

    newer = builder.build(tiny, "process", quiet)
    assert newer.fresh
    assert len(list(builder.root.glob("six-1.17-*"))) == 2  # jobs may still run in the older one


def test_a_build_that_is_killed_half_way_leaves_nothing_that_counts(builder, connection, recipes, tiny, url):
    """By kill -9 while packages are installed: no folder, the table finds out, and the next build works."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # an index that takes connections and says nothing
        environ = {
            **os.environ, "EYEWALL_DATABASE_URL": url, "EYEWALL_VAR": str(builder.root.parent), "UV_NO_CACHE": "1",
            "UV_DEFAULT_INDEX": f"http://127.0.0.1:{silent.getsockname()[1]}/simple", "UV_HTTP_TIMEOUT": "60",
        }  # fmt: skip
        settings = builder.root.parent.parent / "eyewall.toml"
        settings.write_text(f'[environments]\nrecipes = "{recipes}"\n')
        process = subprocess.Popen(
            [sys.executable, "-m", "eyewall.cli", "env", "build", "six-1.17"],
            env={**environ, "EYEWALL_SETTINGS": str(settings)}, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        silent.settimeout(1)
        asked = None
        while asked is None and process.poll() is None:
            with contextlib.suppress(TimeoutError):
                asked, _ = silent.accept()  # uv asks the index: the venv is there, the package is not
        assert asked is not None, process.communicate()
        assert row(connection).being_built
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        asked.close()

    deadline = time.monotonic() + 30
    while row(connection).being_built and time.monotonic() < deadline:
        time.sleep(0.05)
    root = builder.root.parent / "environments"
    assert [path.name[:17] for path in root.iterdir() if path.name != "wheels"] == [".making-six-1.17-"]
    assert row(connection).state == "building"
    sync(connection, recipes)
    assert (row(connection).state, row(connection).reason) == (
        "failed",
        "its build was killed; the same command goes on",
    )

    builder.root = root
    assert builder.build(tiny, "process", quiet).fresh
    assert [path.name[:9] for path in root.iterdir() if path.name != "wheels"] == ["six-1.17-"]
    assert row(connection).state == "built"


def test_removing_frees_the_folder_and_keeps_the_row(builder, connection, tiny):
    folder = builder.build(tiny, "process", quiet).where

    assert builder.remove(tiny.name) == [folder]

    assert not Path(folder).exists()
    assert (row(connection).state, row(connection).folder) == ("listed", None)
    assert builder.build(tiny, "process", quiet).fresh


def test_an_environment_that_a_job_waits_for_is_not_removed(builder, connection, tiny):
    folder = builder.build(tiny, "process", quiet).where
    connection.execute("INSERT INTO job (owner, environment, command) VALUES ('a', %s, '{python}')", (tiny.name,))

    with pytest.raises(InputError, match=r"six-1\.17: 1 jobs that wait or run need it"):
        builder.remove(tiny.name)

    assert Path(folder).exists()
    assert verify.run_in_folder(folder, tiny)["check"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        pytest.param("../x", r"environment '\.\./x' does not exist: see", id="unknown"),
        pytest.param("local", "environment 'local' is the dispatcher's own interpreter: see", id="local"),
    ],
)
def test_what_was_not_built_here_cannot_be_removed(builder, connection, name, sentence):
    query = "INSERT INTO environment (name, framework, version, recipe_sha256) VALUES ('local', '', '', '')"
    connection.execute(f"{query} ON CONFLICT (name) DO NOTHING")

    with pytest.raises(InputError, match=sentence):
        builder.remove(name)
