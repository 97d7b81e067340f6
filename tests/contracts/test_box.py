"""The box of base positions: one text for one box, however it was written, and nothing that is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyewall.cli import parse_command_line
from eyewall.contracts.errors import ContractError
from eyewall.contracts.fields import DEFAULT_BOX, box_text, parse_box
from eyewall.contracts.jobs import RecordsJob, VerifyJob
from eyewall.contracts.layout import digest_of, digest_of_files

RECORDS = {"tracks": "t.csv", "train_to": 2001, "val_to": 2002, "test_to": 2003}


@pytest.mark.parametrize(
    ("text", "box"),
    [
        pytest.param("100,0,180,60", (100, 0, 180, 60), id="western North Pacific"),
        pytest.param(" 100.0, 60, -180, 0", (100, 0, 180, 60), id="other longitudes, latitudes in the other order"),
        pytest.param("-100,0,-10,60", (260, 0, 350, 60), id="North Atlantic"),
        pytest.param("260,0,370,60", (260, 0, 370, 60), id="over Greenwich, east over 360"),
        pytest.param("-100,0,10,60", (260, 0, 370, 60), id="over Greenwich, -180 to 180"),
        pytest.param("160,-40,-120,0", (160, -40, 240, 0), id="South Pacific over the date line"),
        pytest.param("0,-40,360,0", (0, -40, 360, 0), id="all the way round"),
        pytest.param("-180,-40,180,40", (180, -40, 540, 40), id="all the way round from the date line"),
    ],
)
def test_a_box_goes_eastward_from_its_west(text: str, box: tuple[float, ...]) -> None:
    """Also across the date line and Greenwich; east is above west always."""
    assert parse_box(text) == box


@given(st.floats(-180, 360), st.floats(-89, 0), st.floats(0.25, 360), st.floats(0.25, 89))
def test_one_box_has_one_text(west: float, south: float, width: float, height: float) -> None:
    """So that a digest does not depend on how the numbers were written: the text of the text is the text."""
    text = box_text(parse_box(f"{west},{south},{west + width},{south + height}"))

    assert RecordsJob.parse(RECORDS | {"box": text}).box == text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("100,0,180", id="three numbers"),
        pytest.param("100,0,180,60,0.1", id="an area"),
        pytest.param("a,b,c,d", id="letters"),
        pytest.param("100,20,180,20", id="flat"),
        pytest.param("100,0,100,60", id="no width"),
        pytest.param("100,0,180,91", id="beyond the pole"),
        pytest.param("700,0,800,60", id="longitude of 800"),
        pytest.param("nan,0,180,60", id="nan"),
        pytest.param("100,0,inf,60", id="infinity"),
        pytest.param("", id="empty"),
    ],
)
def test_what_is_no_box_is_refused_with_its_text(text: str) -> None:
    """In one sentence that says what to give."""
    with pytest.raises(ContractError, match=r"box .*give\s+west,south,east,north"):
        RecordsJob.parse(RECORDS | {"box": text})


@pytest.mark.parametrize("args", [["--box=-100,0,-10,60"], ["--box", "-100,0,-10,60"]], ids=["equals", "space"])
def test_a_box_that_begins_with_a_minus_passes_the_command_line(args: list[str]) -> None:
    """Western longitudes look like options; and the job goes through its own command line unchanged."""
    plain = ["records", "--tracks=t", "--train-to=2001", "--val-to=2002", "--test-to=2003"]
    job = parse_command_line([*plain, *args])

    assert isinstance(job, RecordsJob)
    assert job.box == "260,0,350,60"
    assert parse_command_line(job.to_args()) == job


def test_without_a_box_records_mean_the_western_north_pacific_and_verify_asks_the_records() -> None:
    """Verify cannot know yet: None."""
    assert RecordsJob.parse(RECORDS).box == DEFAULT_BOX
    assert VerifyJob(truth="t", season_from=2001, season_to=2001).box is None


def test_digests_are_those_of_the_first_version() -> None:
    """Stored artifacts are found by them: sha256 of the JSON with sorted keys, and of lines of name and sum."""
    assert digest_of({"b": 1, "a": [2, "x"]}) == "bb88b998db0f78be70e8a245021d1c22f1fbc0251bdf87fd8175f33f15a09a36"
    assert (
        digest_of_files([("/b", "2"), ("/a", "1")])
        == "d363a9a60fe7bd374a455986b3e1b670cb40369146a03ac425cb84a35bcf05e0"
    )
