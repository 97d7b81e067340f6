"""TensorFlow is imported without its greetings, and what is said on stderr afterwards is heard."""

import os
import subprocess
import sys
import threading

import pytest

from eyewall.quiet import quiet_stderr


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Log level 0 is the loudest: whoever sets it still gets none of the greetings.
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, env=environment
    )


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("from eyewall.quiet import import_tensorflow; import_tensorflow()", id="itself"),
        pytest.param("from eyewall.serving.client import Client; Client('127.0.0.1:9').close()", id="a client"),
        pytest.param(
            "from pathlib import Path\nfrom eyewall.models.predict import load_predictor\n"
            "from eyewall.contracts.errors import ContractError\n"
            "try: load_predictor(Path('nowhere'))\nexcept ContractError: pass",
            id="a verified model",
        ),
    ],
)
def test_importing_tensorflow_says_nothing_and_stderr_is_there_afterwards(code):
    done = run(f"{code}\nimport os, sys; assert 'tensorflow' in sys.modules; os.write(2, b'after')")
    assert (done.returncode, done.stderr) == (0, "after")


def test_only_what_is_written_meanwhile_is_lost(capfd):
    os.write(2, b"before ")
    with quiet_stderr():
        os.write(2, b"meanwhile ")
        with quiet_stderr():
            os.write(2, b"within ")
        os.write(2, b"still ")
    os.write(2, b"after")
    assert capfd.readouterr().err == "before after"


def test_an_error_is_raised_and_stderr_is_back(capfd):
    with pytest.raises(ImportError, match="of what was asked"), quiet_stderr():
        raise ImportError("none of what was asked")
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_two_threads_at_once_leave_stderr_as_it_was(capfd):
    """Without a lock, the second one keeps the first one's /dev/null and restores it for good."""
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with quiet_stderr():
            inside.set()
            leave.wait(10)

    def second() -> None:
        with quiet_stderr():
            pass

    one, two = threading.Thread(target=first), threading.Thread(target=second)
    one.start()
    assert inside.wait(10)
    two.start()
    two.join(0.2)  # without the lock it would be through by now, and have seen the first one's descriptor
    leave.set()
    one.join(10)
    two.join(10)
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_a_process_without_stderr_is_no_trouble():
    done = run("import os; os.close(2)\nfrom eyewall.quiet import quiet_stderr\nwith quiet_stderr(): print('done')")
    assert (done.returncode, done.stdout) == (0, "done\n")
