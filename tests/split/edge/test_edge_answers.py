"""Answers by frame id, metrics as Prometheus reads them, the live view, and what the command line refuses."""

import io
import re
import sqlite3

import numpy as np
import pytest
from rich.console import Console

from eyewall.contracts.errors import ContractError, StorageError
from eyewall.split.edge.answers import Answer, Answers, DiskFull
from eyewall.split.edge.live import rates, view
from eyewall.split.edge.metrics import Metrics
from eyewall.split.edge.options import EdgeOptions
from eyewall.split.edge.packet import FrameKey


def answer(number: int, value: float = 1.5) -> Answer:
    key = FrameKey(f"id-{number}", number, f"{number}.npy", 100 + number, 7)
    return Answer(key, "cloud", 0.25, "pool/4/int8", "tail", 3, {"y": np.float32([value, np.nan]), "n": np.int64(5)})


def test_the_first_answer_of_a_frame_stays_and_a_second_one_is_told(tmp_path):
    answers = Answers(tmp_path / "a.db")
    assert answers.record([answer(1), answer(2)]) == [True, True]
    assert answers.record([answer(2, 9.0), answer(3)]) == [False, True]
    assert [row["outputs"] for row in answers.rows()] == [{"y": [1.5, None], "n": 5}] * 3  # NaN is no number in JSON
    assert answers.has("id-2")
    assert not answers.has("id-4")
    assert answers.has_file("2.npy", 102, 7)
    assert not answers.has_file("2.npy", 102, 8)
    assert answers.last_number() == 3
    assert answers.counts() == {"cloud": 3}
    assert [row["number"] for row in answers.rows(after=1, limit=1)] == [2]


def test_answers_that_cannot_be_written_are_none_of_them_there_and_may_be_written_later(tmp_path):
    answers = Answers(tmp_path / "a.db")
    other = sqlite3.connect(tmp_path / "a.db")
    pages = answers._one("PRAGMA max_page_count = 1")  # a disk without room, as SQLite sees it
    assert pages is not None
    with pytest.raises(DiskFull, match="asked for again"):
        answers.record([answer(number, 0.123456789) for number in range(500)])
    assert other.execute("SELECT count(*) FROM answers").fetchone() == (0,)
    answers._one("PRAGMA max_page_count = 100000")
    assert all(answers.record([answer(number) for number in range(500)]))


def test_a_file_that_is_no_database_is_an_error_with_the_remedy(tmp_path):
    (tmp_path / "a.db").write_text("something else altogether, and long enough for a header " * 3)
    with pytest.raises(StorageError, match="give another --state"):
        Answers(tmp_path / "a.db")


def test_metrics_are_in_the_text_format_with_cumulative_buckets():
    metrics = Metrics()
    metrics.count("frames", outcome="cloud", by=3)
    metrics.count("frames", outcome='a "b"\n')
    for seconds in (0.0005, 0.02, 0.02, 400.0):
        metrics.took("link", seconds)
    metrics.gauge("spool_bytes", lambda: 12)
    text = metrics.text()
    assert 'eyewall_edge_frames_total{outcome="cloud"} 3\n' in text
    assert r'outcome="a \"b\"\n"' in text
    assert "# TYPE eyewall_edge_spool_bytes gauge\neyewall_edge_spool_bytes 12\n" in text
    buckets = re.findall(r'seconds_bucket\{part="link",le="([^"]+)"\} (\d+)', text)
    # 0.0005 in the first; two of 0.02 from 0.025 on; 400 s is beyond the last bound.
    assert dict(buckets)["0.001"] == "1"
    assert dict(buckets)["0.025"] == dict(buckets)["300"] == "3"
    assert buckets[-1] == ("+Inf", "4")
    assert 'eyewall_edge_seconds_sum{part="link"} 400.0405\n' in text
    for line in text.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{.+\})? [-+.0-9e]+", line), line


def status(**changes) -> dict:
    values = {"frames/cloud": 10.0, "bytes/up": 5000.0, "spool_frames": 7.0, "spool_limit_bytes": 1e9}
    return {
        "values": values | changes.pop("values", {}), "parts": {"link": {"count": 10.0, "mean_s": 0.02}}, "pid": 42,
        "server": "tfs:8500", "up_s": 100.0, "away_s": None, "why_away": "", "plan": "pool/4/int8",
        "ways": ["pool/4/int8", "cloud"],
    } | changes  # fmt: skip


def test_the_view_shows_link_plan_rates_and_a_spool_that_is_full():
    console = Console(width=120, record=True, file=io.StringIO())
    now = status(up_s=102.0, away_s=31.0, why_away="UNAVAILABLE: refused",
                 values={"frames/cloud": 40.0, "spool_full": 1.0})  # fmt: skip
    assert rates(now, status())["frames"] == 15.0  # 30 frames in 2 s
    assert rates(now, status(pid=41))["frames"] == 0.0  # another edge by now
    console.print(view(now, status()))
    text = console.export_text()
    for said in ("away for 31 s", "UNAVAILABLE", "pool/4/int8  of", "15.0 a second", "7 frames", "FULL", "20.0"):
        assert said in text


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        pytest.param({"frames": "f"}, "give --head, --cloud or --client", id="no way"),
        pytest.param({"cloud": "m"}, "--frames", id="no frames"),
        pytest.param({"frames": "f", "head": ["folder"]}, "is not FOLDER=MODEL", id="a head without a model"),
        pytest.param({"frames": "f", "cloud": "../m"}, "--cloud", id="a model that climbs"),
        pytest.param({"frames": "f", "cloud": "m", "server": "http://a/b"}, "--server", id="a URL for an address"),
        pytest.param({"frames": "f", "cloud": "m", "batch": "0"}, "--batch", id="no frame a request"),
        pytest.param({"frames": "f", "cloud": "m", "spool_mb": "much"}, "--spool-mb", id="no number"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(values, reason):
    with pytest.raises(ContractError, match=reason):
        EdgeOptions.parse(values)


def test_a_head_may_have_an_equals_sign_in_its_folder_and_a_label():
    (head,) = EdgeOptions.parse({"frames": "f", "head": ["a=b/c=tail:stable"]}).head
    assert (str(head.folder), head.model) == ("a=b/c", "tail:stable")
