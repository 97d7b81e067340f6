"""The streams of docs/configuration.md are settings that can be used as they stand."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from eyewall.contracts.jobs import JOBS
from eyewall.contracts.settings import Settings
from eyewall.satellite.layouts import folders, is_layout

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
BLOCKS = [block for block in re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL) if "[streams." in block]
#: What a run fills in.
GIVEN = {"train": {"records_ref": "r", "run": "r"}, "gate": {"evaluation_ref": "e"}, "publish": {"decision_ref": "d"}}


def name_of(block: str) -> str:
    """The first stream of a block."""
    found = re.search(r"\[streams\.(\w+)\.", block)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("block", [pytest.param(block, id=name_of(block)) for block in BLOCKS])
def test_every_step_of_a_documented_stream_is_a_job(block: str, tmp_path: Path) -> None:
    path = tmp_path / "eyewall.toml"
    path.write_text(block)
    settings = Settings.load({"EYEWALL_SETTINGS": str(path)})

    for stream, steps in settings.streams.items():
        for step in steps:
            job = settings.job(step, stream, **GIVEN.get(step, {}))
            assert JOBS[step].parse(job.model_dump()) == job


def test_there_are_examples_to_test() -> None:
    assert {"himawari9", "himawari_season", "digital_typhoon", "target", "meteosat", "cwb"} <= set(map(name_of, BLOCKS))


def test_the_season_of_full_hours_asks_for_one_folder_an_hour(tmp_path: Path) -> None:
    """Its layout names the minutes itself, so that nothing is listed to know which folders there are."""
    (tmp_path / "eyewall.toml").write_text(next(block for block in BLOCKS if "himawari_season" in block))
    settings = Settings.load({"EYEWALL_SETTINGS": str(tmp_path / "eyewall.toml")})
    source = settings.streams["himawari_season"]["ingest"]["source"]
    start, end = datetime(2023, 6, 30, 22, tzinfo=UTC), datetime(2023, 7, 1, 1, tzinfo=UTC)

    assert is_layout(source)
    assert [folder.rsplit("FLDK/")[1] for folder in folders(source, start, end, lambda _: pytest.fail("listed"))] == [
        "2023/06/30/2200", "2023/06/30/2300", "2023/07/01/0000",
    ]  # fmt: skip
