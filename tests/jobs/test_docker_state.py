"""What an engine says of a container, and what is concluded from it."""

import pytest

from eyewall.jobs.docker.state import seen_of

UP = "2026-11-21T11:17:28.606103515Z"  # when the engine came up last


def seen(status: str = "exited", code: int = 0, memory: str | None = None, **state):
    """A look at a container in this state."""
    container = {"State": {"Status": status, "ExitCode": code, "FinishedAt": "2026-11-21T11:10:00Z", **state}}
    container["Config"] = {"Entrypoint": ["train.sh", "--lr"]}
    return seen_of(container, memory, lambda: UP)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        pytest.param("created", "created", id="made"),
        pytest.param("running", "running", id="runs"),
        pytest.param("paused", "running", id="an operator has paused it"),
        pytest.param("restarting", "running", id="restarts"),
    ],
)
def test_what_has_not_ended(status, state):
    assert seen(status) == (state, None, "")


@pytest.mark.parametrize("code", [0, 1, 3, 75, 99, 255])
def test_a_programs_own_exit_code_is_kept(code):
    """255 as well, where the engine did not come up within two minutes of the end."""
    assert seen(code=code) == ("ended", code, "")


@pytest.mark.parametrize("code", [137, 143])
def test_what_somebody_ended_has_no_exit_code(code):
    """So that its job is lost, and tried again, instead of failed."""
    found = seen(code=code)

    assert found[:2] == ("ended", None)
    assert "somebody ended its container with SIG" in found.reason


def test_what_needs_more_memory_than_its_limit_failed_and_says_so():
    assert seen(code=137, memory="16Gi", OOMKilled=True) == (
        "ended", 137, "killed by the kernel: it needs more memory than its limit of 16Gi for each GPU",
    )  # fmt: skip
    assert seen(code=137, OOMKilled=True).reason.endswith("than the host has")


def test_a_worker_of_it_killed_for_its_memory_does_not_spoil_a_good_end():
    assert seen(code=0, OOMKilled=True) == ("ended", 0, "")


@pytest.mark.parametrize(
    ("finished", "code"),
    [
        pytest.param("2026-11-21T11:17:28.157654212Z", None, id="found dead by the engine as it came up"),
        pytest.param("2026-11-21T11:16:00.000000000Z", None, id="within two minutes before"),
        pytest.param("2026-11-21T11:15:27.000000000Z", 255, id="longer before"),
        pytest.param("2026-11-21T11:17:30.000000000Z", 255, id="since then"),
    ],
)
def test_255_is_a_lost_host_only_around_the_engines_start(finished, code):
    """The engine writes 255 for "unknown"; its own start was at 11:17:28."""
    assert seen(code=255, FinishedAt=finished)[:2] == ("ended", code)


def test_255_is_a_lost_host_where_the_engines_start_is_not_known():
    container = {"State": {"Status": "exited", "ExitCode": 255, "FinishedAt": "2026-11-21T11:10:00Z"}}

    assert seen_of(container, None, lambda: "")[:2] == ("ended", None)


def test_a_command_that_is_not_there_is_the_users_mistake():
    found = seen("created", 127, Error='exec: "nosuch":\n executable file not found in $PATH')

    assert found == (
        "ended", 127, 'its command cannot be run: exec: "nosuch": executable file not found in $PATH',
    )  # fmt: skip


def test_what_the_init_of_the_container_could_not_run_is_named():
    """It ends with 127 too, and so might the program."""
    assert seen(code=126).reason.startswith("'train.sh' cannot be run, or it ended with exit code 126 itself")


def test_a_device_that_cannot_be_lent_is_not():
    found = seen("created", 128, Error="nvidia-container-cli: device error: GPU-aa: unknown device")

    assert found[:2] == ("ended", None)
    assert "unknown device" in found.reason


@pytest.mark.parametrize("status", ["removing", "dead"])
def test_what_somebody_else_removes_is_lost(status):
    assert seen(status)[:2] == ("ended", None)
