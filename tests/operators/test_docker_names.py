"""What the docker backend makes of settings and names, without an engine."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyewall.contracts.errors import ContractError
from eyewall.contracts.placement import DockerSettings, Mount, Resources
from operators.docker import container_environment, container_name, demand_mounted, mount_of
from operators.step_container import gpus, lines

#: What the engine takes as a name.
NAME = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9_.-]+$")


@given(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1), st.integers(-1, 1023))
def test_every_task_has_a_name_that_the_engine_takes_and_the_same_at_each_try(dag, run, task, index):
    name = container_name(dag, run, task, index, store="s3://b")

    assert NAME.match(name)
    assert len(name) <= 128
    assert name == container_name(dag, run, task, index, store="s3://b")


def test_no_two_tasks_share_a_name():
    cases = [
        ("ingest", "scheduled__2026-11-21T04:00:00+00:00", "ingest", -1, "/a"),
        ("ingest", "scheduled__2026-11-21T04:00:00+00-00", "ingest", -1, "/a"),  # equal once made safe
        ("ingest", "scheduled__2026-11-21T04:00:00+00:00", "ingest", 0, "/a"),
        ("ingest", "scheduled__2026-11-21T04:00:00+00:00", "records", -1, "/a"),
        ("retrain", "scheduled__2026-11-21T04:00:00+00:00", "ingest", -1, "/a"),
        ("ingest", "scheduled__2026-11-21T04:00:00+00:00", "ingest", -1, "/b"),  # two installations, one engine
    ]
    names = {container_name(*task, index, store=store) for *task, index, store in cases}

    assert len(names) == len(cases)


def test_a_task_that_is_not_mapped_has_one_name_however_that_is_said():
    assert container_name("d", "r", "t", None, store="s") == container_name("d", "r", "t", -1, store="s")


@given(st.lists(st.binary(max_size=7), max_size=6))
def test_lines_do_not_depend_on_how_the_log_was_cut(chunks):
    whole = b"".join(chunks)
    expected = [line.decode(errors="replace") for line in whole.split(b"\n")]
    if expected[-1] == "":
        expected.pop()  # after the last line's end there is nothing

    assert list(lines(chunks)) == expected


@pytest.mark.parametrize(
    ("store", "mounts", "fits"),
    [
        pytest.param("s3://bucket/x", [], True, id="an object store needs no mount"),
        pytest.param("/store", [("/srv", "/store", False)], True, id="mounted"),
        pytest.param("/store/demo", [("/srv", "/store", False)], True, id="in a mounted folder"),
        pytest.param("/store", [("/srv", "/store", True)], False, id="mounted read-only"),
        pytest.param("/stores", [("/srv", "/store", False)], False, id="a neighbour with the same beginning"),
        pytest.param("var/store", [("/srv", "/store", False)], False, id="relative"),
        pytest.param("/store", [], False, id="not mounted"),
    ],
)
def test_a_store_that_would_vanish_with_its_container_is_refused(store, mounts, fits):
    settings = DockerSettings(mounts=[Mount(source=s, target=t, read_only=r) for s, t, r in mounts])

    if fits:
        demand_mounted(store, settings)
    else:
        with pytest.raises(ContractError, match="writable mount"):
            demand_mounted(store, settings)


def test_a_mount_is_a_folder_of_the_host_or_a_named_volume_and_never_a_claim():
    folder = mount_of(Mount(source="/srv/tracks", target="/tracks"))
    volume = mount_of(Mount(source="volume:eyewall-store", target="/store", read_only=False))

    assert (folder["Type"], folder["Source"], folder["ReadOnly"]) == ("bind", "/srv/tracks", True)
    assert (volume["Type"], volume["Source"], volume["ReadOnly"]) == ("volume", "eyewall-store", False)
    with pytest.raises(ContractError, match="claim"):
        mount_of(Mount(source="claim:eyewall-store", target="/store"))


@pytest.mark.parametrize("source", ["volume:", "volume:a/b", "volume:-x", "relative/path", "/a/../b"])
def test_a_source_that_names_nothing_is_refused(source):
    with pytest.raises(ValueError, match=r"names no volume|not a plain absolute path"):
        Mount(source=source, target="/store")


def test_gpus_are_requested_only_where_there_are_some():
    assert gpus(0) is None
    (request,) = gpus(3)
    assert (request["Count"], request["Capabilities"]) == (3, [["gpu"]])


def test_the_environment_has_as_many_threads_as_the_step_has_cores_unless_it_was_told():
    assert container_environment({"PATH": "/x"}, Resources(cpus=2.5)) == {
        "EYEWALL_THREADS": "2", "OMP_NUM_THREADS": "2",
    }  # fmt: skip
    assert container_environment({"OMP_NUM_THREADS": "7"}, Resources(cpus=0.5)) == {
        "EYEWALL_THREADS": "1", "OMP_NUM_THREADS": "7",
    }  # fmt: skip
