"""GPUs by NVML: the real pynvml over a library of ours, and what is made of what it says."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvml_stub import build

from eyewall.jobs.nvml import generation_of, judge
from eyewall.jobs.runner import Found

pytest.importorskip("pynvml", reason="needs nvidia-ml-py")

READ = "import json, pynvml; from eyewall.jobs.nvml import read_gpus; print(json.dumps(read_gpus(pynvml)))"
H100 = "NVIDIA H100 80GB HBM3|9.0|81559"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Folder of the library."""
    return build(tmp_path_factory.mktemp("nvml")).parent


def read(library, tmp_path, *lines):
    """What read_gpus gives where the machine has these GPUs: (number, uuid, generation, MiB, state, reason) of each."""
    (tmp_path / "gpus").write_text("".join(f"{line}\n" for line in lines))
    # The library that a process has loaded stays: a process for each set of GPUs.
    done = subprocess.run(
        [sys.executable, "-c", READ],
        env={**os.environ, "LD_LIBRARY_PATH": str(library), "NVML_STUB": str(tmp_path / "gpus")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = [Found(*each) for each in json.loads(done.stdout)]
    assert not any(gpu.declared or gpu.host for gpu in found)
    return [(gpu.number, gpu.uuid, gpu.generation, gpu.memory_mb, gpu.state, gpu.reason) for gpu in found]


def test_gpus_come_with_their_uuid_generation_and_memory(library, tmp_path):
    found = read(library, tmp_path, f"GPU-aa|{H100}||", "GPU-bb|Tesla T4|7.5|15360|old|")

    assert found == [(0, "GPU-aa", "h100", 81559, "ok", ""), (1, "GPU-bb", "t4", 15360, "ok", "")]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param("ecc", "3 uncorrected ECC errors", id="memory errors that were not corrected"),
        pytest.param("remap-pending", "wait to be remapped (XID 63)", id="rows that wait for a reset"),
        pytest.param("remap-failed", "more bad rows than spare ones (XID 64)", id="no spare rows"),
        pytest.param("retired", "wait to be retired (XID 63)", id="pages that wait for a reset"),
        pytest.param("recovery-2", "needs a reboot of its host", id="the driver asks for a reboot"),
        pytest.param("lost", "GPU is lost", id="fell off the bus"),
    ],
)
def test_a_gpu_that_is_not_well_is_failed_and_says_why(library, tmp_path, fault, words):
    """The sound one beside it is offered all the same."""
    found = read(library, tmp_path, f"GPU-aa|{H100}|{fault}|", f"GPU-bb|{H100}|fine|")

    assert [(uuid, state) for _, uuid, _, _, state, _ in found] == [("GPU-aa", "failed"), ("GPU-bb", "ok")]
    assert words in found[0][5]


def test_a_gpu_that_does_not_tell_its_uuid_is_not_found_and_the_others_keep_their_numbers(library, tmp_path):
    found = read(library, tmp_path, f"GPU-aa|{H100}|gone|", f"GPU-bb|{H100}|fine|")

    assert [(number, uuid) for number, uuid, *_ in found] == [(1, "GPU-bb")]


def test_a_process_that_is_no_job_makes_its_gpu_foreign(library, tmp_path):
    """Its own process is a real one; the pid 4194305 is beyond the kernel's largest: it has gone meanwhile."""
    with subprocess.Popen(["sleep", "60"]) as user:
        found = read(
            library, tmp_path, f"GPU-aa|{H100}||{user.pid}", f"GPU-bb|{H100}||4194305", f"GPU-cc|{H100}||"
        )  # fmt: skip
        user.kill()

    assert [state for *_, state, _ in found] == ["foreign", "ok", "ok"]
    assert f"process {user.pid}, which is no job" in found[0][5]


def test_a_process_with_a_jobs_environment_is_a_job(library, tmp_path):
    with subprocess.Popen(["sleep", "60"], env={**os.environ, "EYEWALL_ATTEMPT": "2"}) as user:
        found = read(library, tmp_path, f"GPU-aa|{H100}||{user.pid}")
        user.kill()

    assert [state for *_, state, _ in found] == ["ok"]


def test_a_machine_without_a_driver_has_no_gpus(library, tmp_path):
    """Neither with a library that finds no driver, nor without a library."""
    for folder in (library, tmp_path):
        done = subprocess.run(
            [sys.executable, "-c", READ],
            env={**os.environ, "LD_LIBRARY_PATH": str(folder), "NVML_STUB": str(tmp_path / "none")},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert json.loads(done.stdout) == []


@pytest.mark.parametrize(
    ("name", "capability", "generation"),
    [
        pytest.param("NVIDIA H100 80GB HBM3", (9, 0), "h100", id="an amount of memory is no model"),
        pytest.param("NVIDIA A100-SXM4-40GB", (8, 0), "a100", id="with its form"),
        pytest.param("NVIDIA GH200 480GB", (9, 0), "gh200", id="with a processor"),
        pytest.param("Tesla V100-PCIE-16GB", (7, 0), "v100", id="Tesla"),
        pytest.param("NVIDIA L4", (8, 9), "l4", id="short"),
        pytest.param("NVIDIA A10G", (8, 6), "a10g", id="with a letter behind"),
        pytest.param("NVIDIA GeForce RTX 3090 Ti", (8, 6), "rtx3090ti", id="for games"),
        pytest.param("NVIDIA RTX A6000", (8, 6), "a6000", id="for workstations"),
        pytest.param("Quadro RTX 6000", (7, 5), "rtx6000", id="of one generation"),
        pytest.param("NVIDIA RTX 6000 Ada Generation", (8, 9), "rtx6000-ada", id="and of another"),
        pytest.param("NVIDIA TITAN V", (7, 0), "volta", id="without a number: its architecture"),
        pytest.param("Graphics Device", (10, 0), "blackwell", id="without a name: its architecture"),
        pytest.param("Graphics Device", (42, 0), "any", id="newer than this program"),
    ],
)
def test_the_generation_is_what_people_call_it(name, capability, generation):
    assert generation_of(name, capability) == generation


@given(st.text(max_size=60), st.tuples(st.integers(0, 99), st.integers(0, 99)))
def test_any_name_gives_a_generation_that_a_job_can_ask_for(name, capability):
    """As eyewall.contracts.submission has it: lower case, digits and . _ -."""
    assert generation_of(name, capability).isascii()
    assert generation_of(name, capability) == generation_of(name, capability).lower() != ""


def test_trouble_counts_more_than_a_foreign_process():
    gpu = {"number": 2, "uuid": "GPU-x", "name": "", "capability": [8, 9], "memory_mb": 5, "trouble": "hot"}
    gpu["processes"] = [{"pid": 7, "cgroup": "0::/user"}]

    (found,) = judge([gpu], lambda process: False)

    assert (found.state, found.reason, found.generation, found.number) == ("failed", "hot", "ada", 2)
