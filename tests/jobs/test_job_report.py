"""`eyewall.report` in programs as users write them: a line on stdout, and a clean end when they are pruned."""

import signal
import subprocess
import sys

import pytest

from eyewall.jobs.output import Report, report_of


def python(program: str) -> subprocess.Popen[str]:
    """A program of a user."""
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    "call",
    [
        pytest.param("import eyewall; eyewall.report(3, 0.5, loss=numpy.float32(0.25))", id="eyewall.report"),
        pytest.param("from eyewall import report; report(numpy.int64(3), 0.5, loss=0.25)", id="from-eyewall"),
        pytest.param("from eyewall.report import report; report(3, 0.5, loss=0.25)", id="from-eyewall.report"),
        pytest.param("import eyewall.report; eyewall.report(3, 0.5, loss=0.25)", id="import-eyewall.report"),
    ],
)
def test_it_prints_what_the_dispatcher_reads(call: str) -> None:
    out, error = python(f"import numpy; {call}").communicate()
    assert [report_of(line) for line in out.splitlines()] == [Report("value", 3, 0.5), Report("loss", 3, 0.25)], error


def test_a_pruned_program_ends_cleanly_at_its_next_report() -> None:
    program = (
        "import eyewall, time\n"
        "try:\n"
        "    for step in range(1000):\n"
        "        eyewall.report(step, 0.5)\n"
        "        time.sleep(0.02)\n"
        "finally:\n"
        "    print('cleaned up')\n"
    )
    process = python(program)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate()
    assert process.returncode == 0
    assert out.endswith("cleaned up\n")
    assert len(out.splitlines()) < 900


def test_a_program_with_a_handler_of_its_own_keeps_it() -> None:
    program = (
        "import eyewall, os, signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "eyewall.report(1, 0.5)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    process = python(program)
    process.communicate()
    assert process.returncode == 7


def test_what_is_no_number_is_refused() -> None:
    process = python("import eyewall; eyewall.report(1.5, 0.5)")
    _, error = process.communicate()
    assert process.returncode == 1
    assert "TypeError" in error


def test_it_brings_nothing_heavy_into_a_job() -> None:
    heavy = ("numpy", "pydantic", "typing", "psycopg", "fsspec", "typer", "tensorflow")
    process = python(f"import eyewall, sys; eyewall.report; print([m for m in {heavy} if m in sys.modules])")
    out, error = process.communicate()
    # typing: the annotations of the report itself
    assert out.strip() in ("[]", "['typing']"), error
