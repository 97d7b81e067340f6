"""Images by digest from a real registry: pulled where the host has none, with a login that is in no database."""

import contextlib
import io
import json
import tarfile
import time
import uuid

import pytest
from docker.errors import APIError

from eyewall.contracts.errors import ContractError, ServingError
from eyewall.jobs.docker.engine import Engine
from eyewall.jobs.docker.images import image_there
from eyewall.jobs.runner import Worker

pytestmark = pytest.mark.docker
#: htpasswd's line for user "jobs", password "only-of-this-test".
LOGIN = "jobs:$2b$04$4bqmE5eM0thOZ.Nrvo4rlekMNnMBxxUadyUTGiGa1KFiYQqDMYS5O\n"
PASSWORD = "only-of-this-test"


def tar(name: str, content: bytes) -> bytes:
    """A tar with one file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as made:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        made.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


@pytest.fixture(scope="module", params=[pytest.param(False, id="open"), pytest.param(True, id="with a login")])
def pushed(request, engine):
    """(name by digest of an image that only a registry has, whether that asks for a login)."""
    if not engine.images(name="registry:2"):
        pytest.skip("needs the image registry:2 on the engine")
    environment = (
        {"REGISTRY_AUTH_HTPASSWD_REALM": "t", "REGISTRY_AUTH_HTPASSWD_PATH": "/login"} if request.param else {}
    )
    made = engine.create_container(
        "registry:2",
        name=f"eyewall-test-registry-{uuid.uuid4().hex[:8]}",
        ports=[5000],
        environment=environment,
        host_config=engine.create_host_config(port_bindings={5000: ("127.0.0.1", None)}),
    )
    login = {"username": "jobs", "password": PASSWORD} if request.param else None
    try:
        engine.put_archive(made["Id"], "/", tar("login", LOGIN.encode()))
        engine.start(made["Id"])
        port = engine.inspect_container(made["Id"])["NetworkSettings"]["Ports"]["5000/tcp"][0]["HostPort"]
        where = f"127.0.0.1:{port}/tiny"
        # Unlike any other, so that the engine cannot have it from elsewhere.
        loaded = engine.import_image_from_data(tar("unique", uuid.uuid4().bytes), repository=where, tag="1")
        yield f"{where}@{push(engine, where, login)}", request.param, json.loads(loaded)["status"]
    finally:
        engine.remove_container(made["Id"], force=True, v=True)


def push(engine, where: str, login) -> str:
    """Push, as soon as the registry answers, and forget it here; its digest."""
    for _ in range(100):
        said = list(engine.push(where, tag="1", stream=True, decode=True, auth_config=login))
        digests = [line["aux"]["Digest"] for line in said if "aux" in line]
        if digests:
            engine.remove_image(f"{where}:1", force=True)
            return digests[0]
        time.sleep(0.1)
    raise AssertionError(said)


@pytest.fixture
def image(pushed, engine):
    """The same, not on the engine: neither before a test nor after it."""
    name, login, identity = pushed

    def forget() -> None:
        for each in (name, identity):
            with contextlib.suppress(APIError):
                engine.remove_image(each, force=True)

    forget()
    yield name, login
    forget()


OPTIONS = {"registry_user_env": "SITE_USER", "registry_password_env": "SITE_PASSWORD"}
ENVIRON = {"SITE_USER": "jobs", "SITE_PASSWORD": PASSWORD}


def test_an_image_that_the_host_has_not_is_pulled_by_its_digest(image, engine):
    """The second time it is there, and no registry is asked."""
    name, login = image
    worker = Worker("hall", "docker", "", OPTIONS if login else {})

    identity = image_there(Engine(worker), name, ENVIRON)

    assert engine.inspect_image(name)["Id"] == identity
    assert image_there(Engine(Worker("hall", "docker", "", {})), name, {}) == identity
    # An image that came by file has no registry's digest: its own identity will do.
    assert image_there(Engine(worker), f"whatever@{identity}", {}) == identity


def test_a_digest_that_the_registry_has_not_is_never_there(image):
    name, login = image
    worker = Worker("hall", "docker", "", OPTIONS if login else {})

    with pytest.raises(ContractError, match=r"cannot be pulled: .*push it with `eyewall env build`"):
        image_there(Engine(worker), f"{name.partition('@')[0]}@sha256:{'6' * 64}", ENVIRON)


def test_without_the_registrys_login_it_is_not_given(image):
    name, login = image
    if not login:
        assert image_there(Engine(Worker("hall", "docker", "", {})), name, {}).startswith("sha256:")
        return
    with pytest.raises(ContractError, match="give the worker the registry's login"):
        image_there(Engine(Worker("hall", "docker", "", {})), name, {})
    with pytest.raises(ContractError, match="variable SITE_USER is not set") as caught:
        image_there(Engine(Worker("hall", "docker", "", OPTIONS)), name, {"SITE_PASSWORD": PASSWORD})
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(None, id="none"),
        pytest.param("python:3.11", id="a tag"),
        pytest.param("python@sha256:abc", id="a short digest"),
        pytest.param(f"-x@sha256:{'5' * 64}", id="an option"),
        pytest.param(f"a b@sha256:{'5' * 64}", id="two words"),
    ],
)
def test_a_name_without_a_digest_is_refused_before_anything_is_asked(name):
    with pytest.raises(ContractError, match="has no digest"):
        image_there(Engine(Worker("hall", "docker", "unix:///nowhere", {})), name)


def test_a_registry_that_is_away_may_be_back_later(engine):
    """Port 9 is nobody's."""
    with pytest.raises(ServingError, match="the registry may be away"):
        image_there(Engine(Worker("hall", "docker", "", {})), f"127.0.0.1:9/x@sha256:{'5' * 64}")
