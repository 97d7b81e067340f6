"""What a job prints becomes a bounded log and reports, whatever it prints."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyewall.jobs import output
from eyewall.jobs.output import Output, Report, report_of
from eyewall.jobs.runner import Assignment, Gpu, Worker
from eyewall.storage import Store


def an_output(folder: str) -> Output:
    """The output of some attempt."""
    worker = Worker("w", "process")
    assignment = Assignment(
        attempt=1, job=2, number=3, token=1, worker=worker, gpus=(Gpu(0, "w-0", True),), command=("true",),
        owner="tester", environment="local", image=None, folder=None, code=None, data=(), variables={}, max_s=None,
    )  # fmt: skip
    return Output(Store(folder), assignment)


@pytest.mark.parametrize(
    ("line", "report"),
    [
        pytest.param('{"step": 3, "metric": "loss", "value": 0.25}', Report("loss", 3, 0.25), id="plain"),
        pytest.param('{"value": 2, "metric": "ü", "step": -1, "more": []}', Report("ü", -1, 2.0), id="more-fields"),
        pytest.param(
            '{"step": 3, "metric": "loss", "value": Infinity}', Report("loss", 3, float("inf")), id="infinite"
        ),
        pytest.param('{"step": 3, "metric": "loss"}', None, id="no-value"),
        pytest.param('{"step": 3.5, "metric": "loss", "value": 1}', None, id="half-a-step"),
        pytest.param('{"step": true, "metric": "loss", "value": 1}', None, id="no-step"),
        pytest.param('{"step": 9223372036854775808, "metric": "loss", "value": 1}', None, id="too-late-a-step"),
        pytest.param('{"step": 3, "metric": "loss", "value": "1"}', None, id="text"),
        pytest.param('{"step": 3, "metric": "", "value": 1}', None, id="no-name"),
        pytest.param('{"step": 3, "metric": "a\\u0000b", "value": 1}', None, id="name-no-database-takes"),
        pytest.param('{"step": 3, "metric": "loss", "value": 1' + "0" * 400 + "}", None, id="no-float"),
        pytest.param("[" * 100_000, None, id="deep"),
        pytest.param("3 loss 0.25", None, id="no-json"),
    ],
)
def test_a_line_is_a_report_only_if_it_is_whole(line: str, report: Report | None) -> None:
    assert report_of(f"eyewall-report {line}") == report
    assert report_of(f" eyewall-report {line}") is None


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        pytest.param((), "", id="nothing"),
        pytest.param(("a", "ValueError: no  such file", "", " "), "ValueError: no such file", id="blank-after"),
        pytest.param(("a", 'eyewall-report {"step": 1, "metric": "m", "value": 2}'), "a", id="reports-say-nothing"),
        pytest.param(("x" * 500,), "x" * 200, id="long"),
        pytest.param(("\x00bad\x1b[31m red",), "bad [31m red", id="not-printable"),
    ],
)
def test_the_last_line_is_one_that_says_something(lines: tuple[str, ...], said: str, tmp_path: Path) -> None:
    made = an_output(str(tmp_path))
    for line in lines:
        made.take(line)
    assert made.last_line() == said


@given(st.text(max_size=200))
def test_no_line_breaks_the_reader_of_reports(text: str) -> None:
    report_of(text)
    report_of(f"eyewall-report {text}")


@given(st.lists(st.integers(0, 40), max_size=60))
def test_a_log_is_its_first_lines_what_is_left_out_and_its_last_lines(
    lengths: list[int],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output, "HEAD_BYTES", 100)
        patch.setattr(output, "TAIL_BYTES", 200)
        made = an_output("/nowhere")
        lines = [chr(97 + number % 26) * length for number, length in enumerate(lengths)]
        for line in lines:
            made.take(line)
        printed = "".join(f"{line}\n" for line in lines)
        head, gap, tail = made.text().decode().partition("[eyewall: ")
        if not gap:
            assert head == printed
        else:
            left_out, _, tail = tail.partition(" bytes of output are left out here]\n")
            assert printed.startswith(head)
            assert printed.endswith(tail)
            assert len(head) + int(left_out) + len(tail) == len(printed)
        assert len(made.text()) <= 100 + 200 + len("[eyewall: 10000 bytes of output are left out here]\n")


def test_only_the_last_value_of_a_step_is_passed_on_and_only_once(tmp_path: Path) -> None:
    made = an_output(str(tmp_path))
    for value in (0.5, 0.25):
        assert made.take(f'eyewall-report {{"step": 1, "metric": "m", "value": {value}}}')
    assert not made.take("eyewall-report nonsense")
    assert made.new_reports() == [Report("m", 1, 0.25)]
    assert made.new_reports() == []


def test_a_flood_of_reports_ends_in_the_log_and_not_in_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "MAX_REPORTS", 5)
    made = an_output(str(tmp_path))
    for step in range(8):
        made.take(f'eyewall-report {{"step": {step}, "metric": "m", "value": 1}}')
    assert [report.step for report in made.new_reports()] == [0, 1, 2, 3, 4]
    assert made.text().decode().count("no more than 5 reports") == 1
    made.write()
    assert Store(str(tmp_path)).read_bytes("jobs/2/3/log.txt") == made.text()


def test_a_log_is_written_again_only_when_it_has_changed_and_not_too_often(tmp_path: Path) -> None:
    made = an_output(str(tmp_path))
    assert not made.is_due()
    made.take("first")
    assert made.is_due()
    made.write()
    made.take("second")
    assert not made.is_due()  # so soon after the last time
    made.restart()
    made.take("first")
    made.write()
    assert Store(str(tmp_path)).read_bytes("jobs/2/3/log.txt") == b"first\n"
