"""An image is what its recipe says, is known by the registry's digest, and is made once, whoever is killed meanwhile.

With a real engine and a real registry of these tests' own, on a port of the loopback address.
"""

# NOTE: injected by pytest, defined in conftests: builder, connection, engine, recipes, tiny, url
import contextlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import time
import uuid

import pytest
from docker.errors import APIError, NotFound
from environment_helpers import quiet, row, write_wheel

from eyewall.contracts.errors import EyewallError, InputError, StorageError
from eyewall.contracts.settings import Settings
from eyewall.environments import registry as registries
from eyewall.environments import resolve
from eyewall.environments.lock import make_lock, wheels_of
from eyewall.environments.recipe import recipe_named

pytestmark = pytest.mark.docker

QUICK = """FROM python:3.11-slim-bookworm AS whole
COPY lock.txt /
RUN python -m pip install --quiet --root-user-action=ignore --no-deps --target /opt/lib -r /lock.txt \\
    && mkdir -p /work/code /work/data /work/out && chmod 777 /work/*
COPY eyewall /opt/lib/eyewall
ENV PYTHONPATH=/opt/lib
ARG RECIPE
LABEL eyewall.recipe=$RECIPE
USER 10001
"""


@pytest.fixture(scope="module")
def registry(engine):
    """Address of a registry that is removed with all its images."""
    if not engine.images(name="registry:2") or not engine.images(name="python:3.11-slim-bookworm"):
        pytest.skip("needs the images registry:2 and python:3.11-slim-bookworm on the engine")
    made = engine.create_container(
        "registry:2", name=f"eyewall-test-registry-{uuid.uuid4().hex[:8]}", ports=[5000],
        host_config=engine.create_host_config(port_bindings={5000: ("127.0.0.1", 0)}),
    )["Id"]  # fmt: skip
    engine.start(made)
    port = engine.port(made, 5000)[0]["HostPort"]
    address = f"127.0.0.1:{port}"
    for _ in range(100):
        with contextlib.suppress(StorageError):
            registries.digest_of(engine, f"{address}/nothing:1", address)
            break
        time.sleep(0.1)
    yield address
    engine.remove_container(made, force=True, v=True)
    for image in engine.images():
        for tag in [*(image.get("RepoTags") or []), *(image.get("RepoDigests") or [])]:
            if tag.startswith(address):
                with contextlib.suppress(APIError):
                    engine.remove_image(tag, force=True)


@pytest.fixture
def builder(builder, registry):
    """Builds images for that registry."""
    builder.settings = Settings.model_validate({"environments": {"registry": registry}})
    return builder


@pytest.fixture
def quick(recipes):
    """The tiny environment with a Dockerfile whose steps the engine's cache knows after the first test."""
    (recipes / "environment" / "Dockerfile").write_text(QUICK)
    return recipe_named("six-1.17", recipes)


@pytest.fixture
def built(builder, tiny):
    """The tiny environment's image; after the first test that of the registry is taken."""
    return builder.build(tiny, "docker", quiet)


def tag_of(engine, builder, tiny):
    sha256 = tiny.sha256(builder.settings.environments.base)
    return f"{builder.settings.environments.registry}/eyewall-env-{tiny.name}:{sha256[:12]}"


def test_a_line_and_a_command_make_an_image_that_jobs_run_by_digest(builder, connection, engine, registry, tiny):
    outcome = builder.build(tiny, "docker", quiet)

    found = resolve(connection, tiny.name, "docker")
    assert outcome.fresh
    assert found.image == outcome.where
    assert found.image.startswith(f"{registry}/eyewall-env-six-1.17@sha256:")
    config = engine.inspect_image(found.image)["Config"]
    assert config["Labels"] == {
        "org.opencontainers.image.title": "eyewall-env-six-1.17",
        "org.opencontainers.image.version": "1.17.0",
        "eyewall.recipe": found.recipe_sha256,
    }
    assert config["User"] == "10001:10001"
    assert builder.verify(tiny, "docker") == "six 1.17.0, 1 packages as locked"


def test_a_wheel_that_no_index_has_is_installed_and_does_not_stay_in_the_image(builder, connection, engine, recipes):
    (recipes / "environments.yaml").write_text(
        "eyewalltestpkg-2.1: {requirements: [eyewalltestpkg==2.1.3+cpu], check: eyewalltestpkg.x == 3}\n"
    )
    recipe = recipe_named("eyewalltestpkg-2.1", recipes)
    write_wheel(wheels_of(recipe, builder.root), code="x = 3\n")
    make_lock(recipe, builder.root)

    image = builder.build(recipe, "docker", quiet).where

    assert builder.verify(recipe, "docker") == "eyewalltestpkg 2.1.3+cpu, 1 packages as locked"
    created = [layer["CreatedBy"] for layer in engine.history(image)]
    assert not any("/wheels" in command for command in created)
    sha256 = resolve(connection, recipe.name).recipe_sha256
    left = engine.images(filters={"label": f"eyewall.recipe={sha256}"})
    assert [tag for found in left for tag in found["RepoTags"]] == [tag_of(engine, builder, recipe)]


def test_code_that_is_put_into_it_runs_as_an_ordinary_user_and_can_write_its_results(built, engine):
    """As the platform starts a job: create, copy the code in, start."""
    code = b"import os, six, eyewall\neyewall.report(1, 0.25)\n"
    code += b"open('/work/out/r', 'w').write(f'{os.getuid()} {six.PY3}')\n"
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("train.py")
        entry.size = len(code)
        tar.addfile(entry, io.BytesIO(code))
    made = engine.create_container(built.where, ["python", "train.py"], network_disabled=True)["Id"]
    try:
        engine.put_archive(made, "/work/code", archive.getvalue())
        engine.start(made)
        assert engine.wait(made)["StatusCode"] == 0, engine.logs(made)
        assert engine.logs(made) == b'eyewall-report {"step": 1, "metric": "value", "value": 0.25}\n'
        stream, _ = engine.get_archive(made, "/work/out/r")
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
            assert tar.extractfile("r").read() == b"10001 True"
    finally:
        engine.remove_container(made, force=True)


def test_a_second_build_changes_nothing(built, builder, connection, tiny):
    before = row(connection)

    again = builder.build(tiny, "docker", quiet)

    assert (again.fresh, again.where) == (False, built.where)
    assert row(connection) == before


def test_what_another_machine_has_pushed_is_taken_over(built, builder, connection, tiny):
    """So is what a build had pushed that was killed before it wrote the digest down."""
    connection.execute("UPDATE environment SET image = NULL, state = 'building', reason = ''")

    again = builder.build(tiny, "docker", quiet)

    assert (again.fresh, again.where) == (False, built.where)
    assert (row(connection).state, row(connection).image) == ("built", built.where)


def test_an_image_that_somebody_pushed_under_its_tag_is_found_and_not_taken_over(
    built, builder, connection, engine, quick
):
    builder.build(quick, "docker", quiet)
    tag = tag_of(engine, builder, quick)
    repository, _, label = tag.rpartition(":")
    engine.tag("python:3.11-slim-bookworm", repository, label)
    list(engine.push(repository, tag=label, stream=True))

    with pytest.raises(StorageError, match=r"its tag [0-9a-f]{12} is sha256:.* somebody pushed another image"):
        builder.verify(quick, "docker")

    connection.execute("UPDATE environment SET image = NULL, state = 'listed'")
    again = builder.build(quick, "docker", quiet)
    assert again.fresh
    assert builder.verify(quick, "docker")


def test_an_image_that_the_registry_has_lost_is_noticed(built, builder, connection, tiny):
    missing = f"{built.where.partition('@')[0]}@sha256:{'ab' * 32}"
    connection.execute("UPDATE environment SET image = %s", (missing,))

    with pytest.raises(
        StorageError, match=r"no longer has .*@sha256:abab.*: `eyewall env build six-1\.17 --backend docker`"
    ):
        builder.verify(tiny, "docker")
    assert builder.build(tiny, "docker", quiet).where == built.where


def test_without_a_registry_nothing_is_built(builder, connection, engine, tiny):
    builder.settings = Settings.model_validate({"environments": {"registry": "127.0.0.1:9"}})  # discard: nobody there

    with pytest.raises(StorageError, match=r"registry 127\.0\.0\.1:9 does not answer the engine .*: start one with"):
        builder.build(tiny, "docker", quiet)

    assert (row(connection).state, row(connection).image) == ("failed", None)
    assert engine.images(name="127.0.0.1:9/eyewall-env-six-1.17") == []


def test_a_step_that_fails_is_the_reason(builder, connection, recipes):
    dockerfile = recipes / "environment" / "Dockerfile"
    dockerfile.write_text("FROM python:3.11-slim-bookworm AS whole\nRUN echo no room left >&2; exit 7\n")

    with pytest.raises(EyewallError, match=r"six-1\.17, docker: Step 2/2 : RUN echo .*: no room left .*code: 7"):
        builder.build(recipe_named("six-1.17", recipes), "docker", quiet)
    assert row(connection).state == "failed"


def test_an_image_that_does_not_do_what_its_recipe_says_is_not_pushed(builder, connection, engine, quick):
    quick.dockerfile.write_text(QUICK.replace("USER 10001", "USER 0"))

    with pytest.raises(EyewallError, match="is not what its recipe says: it runs as root"):
        builder.build(quick, "docker", quiet)

    tag = tag_of(engine, builder, quick)
    assert registries.digest_of(engine, tag, builder.settings.environments.registry) is None
    assert row(connection).image is None


def test_a_build_that_is_killed_half_way_is_recovered(builder, connection, engine, quick, registry, tmp_path, url):
    """By kill -9 while the engine runs a step: the next build makes the image, and the table is right again."""
    mark = uuid.uuid4().hex
    quick.dockerfile.write_text(f"{QUICK}RUN sleep 60; echo {mark}\n")
    settings = tmp_path / "eyewall.toml"
    settings.write_text(f'[environments]\nrecipes = "{quick.folder}"\nregistry = "{registry}"\n')
    process = subprocess.Popen(
        [sys.executable, "-m", "eyewall.cli", "env", "build", "six-1.17", "--backend", "docker"],
        env={**os.environ, "EYEWALL_DATABASE_URL": url, "EYEWALL_VAR": str(tmp_path / "var"),
             "EYEWALL_SETTINGS": str(settings)}, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip

    def sleeping():
        return [each for each in engine.containers() if mark in each["Command"]]

    while not sleeping() and process.poll() is None:
        time.sleep(0.05)
    assert process.returncode is None, process.communicate()
    assert row(connection).being_built
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()

    deadline = time.monotonic() + 60
    while (sleeping() or row(connection).being_built) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not sleeping()  # the engine gives up what nobody waits for
    assert row(connection).state == "building"

    quick.dockerfile.write_text(QUICK)
    outcome = builder.build(quick, "docker", quiet)
    assert (row(connection).state, row(connection).image) == ("built", outcome.where)


def test_removing_frees_the_engine_and_leaves_the_registry(built, builder, connection, engine, tiny):
    gone = builder.remove(tiny.name)

    assert tag_of(engine, builder, tiny) in gone
    assert engine.images(name=built.where.partition("@")[0]) == []
    assert row(connection).image is None
    assert registries.digest_of(engine, built.where, builder.settings.environments.registry)


def test_a_registry_is_started_on_this_machine_and_only_once(engine, registry, unused_tcp_port):
    address = f"127.0.0.1:{unused_tcp_port}"
    name = f"eyewall-registry-{unused_tcp_port}"
    try:
        assert "made and started" in registries.start_registry(engine, address)
        assert registries.start_registry(engine, address) == f"runs at {address}"
        engine.stop(name, timeout=1)
        assert registries.start_registry(engine, address) == f"started at {address}"
        assert engine.port(name, 5000) == [{"HostIp": "127.0.0.1", "HostPort": str(unused_tcp_port)}]
    finally:
        with contextlib.suppress(NotFound):
            engine.remove_container(name, force=True)
            engine.remove_volume(name)


@pytest.mark.parametrize("address", ["registry.example", "registry.example:5000", "127.0.0.1", "10.0.0.7:5000/team"])
def test_a_registry_elsewhere_is_not_started_here(engine, address):
    with pytest.raises(InputError, match=f"registry {address} is not one of this machine"):
        registries.start_registry(engine, address)
