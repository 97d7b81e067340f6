"""The Digital Typhoon data set is put in by the settings that the documentation shows, and nothing else."""

import re
from pathlib import Path

import numpy as np
import pytest

from eyewall.contracts.features import IMAGE_AGE_H, IMAGE_VALID, IMAGES, STORM_ID
from eyewall.contracts.settings import Settings
from eyewall.records import step as records
from eyewall.records.example import decode
from eyewall.records.schema import read_schema
from eyewall.records.shards import read_records, shard_paths
from eyewall.satellite import step as ingest
from eyewall.simulator.typhoon_archive import write_archive

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
SEASONS = {"train_from = 1978": "train_from = 1978", "train_to = 2014": "train_to = 1978",
           "val_to = 2016": "val_to = 1979", "test_to = 2018": "test_to = 1980"}  # fmt: skip


@pytest.fixture
def settings(tmp_path):
    """The documented stream, with the folder and the seasons of a stand-in: a storm of 42 hours in each of three."""
    write_archive(tmp_path / "WP", 3 * 42, hours=42, storms_per_season=1, every_h=6)
    (block,) = re.findall(r"```toml\n(default_stream = \"digital_typhoon\".*?)```", PAGE.read_text(), re.DOTALL)
    for documented, ours in SEASONS.items():
        assert documented in block
        block = block.replace(documented, ours)
    path = tmp_path / "eyewall.toml"
    path.write_text(block.replace("/data/digital_typhoon/WP", str(tmp_path / "WP")))
    return Settings.load({"EYEWALL_SETTINGS": str(path), "EYEWALL_STORE": str(tmp_path / "store")})


def test_frames_and_records_follow_from_the_documented_settings(settings, tmp_path):
    frames = ingest.run(settings.job("ingest", "digital_typhoon")).summary
    made = records.run(settings.job("records", "digital_typhoon")).summary

    # 0, 6 … 36 h in three storms
    assert (frames["slots_ok"], frames["slots_refused"]) == (21, 0)
    # base times want fixes 24 h before and 6 h after: 24 and 30 h, and 36 h with the last fix at 41 h has none at 42 h
    assert made["samples"] == {"train": 2, "val": 2, "test": 2}
    assert made["with_frames"] == made["samples"]
    folder = tmp_path / "store" / made["records"]
    schema = read_schema(folder)
    samples = [
        decode(record, schema.images) for path in shard_paths(folder, "test", schema.shards)
        for record in read_records(path)
    ]  # fmt: skip
    for sample in samples:
        assert sample[STORM_ID] == "198001"
        assert sample[IMAGE_VALID].tolist() == [0, 1, 1, 1]  # 12, 6 and 0 h: what is older is out of reach
        assert sample[IMAGE_AGE_H].tolist() == [0, 12, 6, 0]
        image = sample[IMAGES][-1, :, :, 0]
        # the shield is in the middle, and the sea about it is warm
        assert image[24:40, 24:40].mean() < np.median(image) - 5
