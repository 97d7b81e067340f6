"""What a job is told by its environment, the same on every kind of worker."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyewall.jobs.docker.place import environment
from eyewall.jobs.pods.manifest import Place, pod
from eyewall.jobs.pods.options import PodOptions
from eyewall.jobs.process import runner as process_runner
from eyewall.jobs.runner import Assignment, Gpu, Worker
from eyewall.jobs.variables import told

DATA = ["/work/data/0-tracks", "s3://bucket:9000/a b", 'https://host/x?y=["1"]']
JOB = Assignment(
    attempt=70, job=17, number=2, token=1, worker=Worker("w", "process"), gpus=(Gpu(0, "w-0", True),),
    command=("train",), owner="ada", environment="local", image="r/some@sha256:" + "a" * 64, folder=None, code=None,
    data=(), variables={"EYEWALL_DATA_0": "mine", "LR": "3"}, max_s=None,
)  # fmt: skip


def _of_process() -> dict[str, str]:
    return process_runner._environ(JOB, Path("/jobs/x"), DATA)


def _of_container() -> dict[str, str]:
    return environment(JOB, DATA)


def _of_pod() -> dict[str, str]:
    made = pod(JOB, PodOptions(), "uid-1", Place(0, tuple((where, None) for where in DATA), False))
    return {each["name"]: each.get("value", "") for each in made["spec"]["containers"][0]["env"]}


@pytest.mark.parametrize("of", [_of_process, _of_container, _of_pod])
def test_each_of_the_data_is_told_by_its_number_and_all_as_json_on_every_kind_of_worker(
    of: Callable[[], dict[str, str]],
) -> None:
    """The list of old, joined by a colon, cannot be taken apart where a URL is in it."""
    given = of()

    assert [given[f"EYEWALL_DATA_{number}"] for number in range(3)] == DATA
    assert json.loads(given["EYEWALL_DATA_JSON"]) == DATA
    assert given["EYEWALL_DATA"] == '/work/data/0-tracks:s3://bucket:9000/a b:https://host/x?y=["1"]'
    assert "EYEWALL_DATA_3" not in given
    assert (given["LR"], given["EYEWALL_ATTEMPT"], given["EYEWALL_GPUS"]) == ("3", "2", "1")


@given(st.lists(st.text()))
def test_any_data_come_back_as_they_were(data: list[str]) -> None:
    assert json.loads(told(JOB, "c", data, "o")["EYEWALL_DATA_JSON"]) == data
