"""The same DAGs on real satellite archives and real best tracks, pointed there by a settings file alone."""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from eyewall.platform.ports import Ports
from eyewall.platform.rest import Airflow
from eyewall.platform.up import Installation, down, up
from eyewall.satellite.frame import read_frame
from eyewall.satellite.index import list_frames
from eyewall.storage import Store

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.shared_data, pytest.mark.timeout(420)]

SETTINGS = """
store = "{var}/store"
default_stream = "cwb"
airflow_port = {ports.airflow}
grpc_port = {ports.grpc}
rest_port = {ports.rest}

[streams.cwb.ingest]
source = "{data}/cwb_ir1_lcc/frames256"
reader = "map_picture"
[streams.cwb.records]
tracks = "{data}/besttrack/ibtracs_wp_1951_2018.parquet"
train_from = 1990
train_to = 2005
val_to = 2007
test_to = 2010
px = 32
km_per_px = 40.0
[streams.cwb.train]
model = "fusion"
steps = 120
[streams.cwb.verify]
truth = "{data}/besttrack/ibtracs_wp_1951_2018.parquet"
season_from = 2008
season_to = 2010
fit_to = 2005
[streams.cwb.forecast]
tracks = "{data}/besttrack/ibtracs_wp_1951_2018.parquet"
truth = true

[streams.podul.ingest]
source = "{data}/digital_typhoon/image/200717"
reader = "digital_typhoon"

[streams.corrupt.ingest]
source = "{data}/digital_typhoon/image/198702"
reader = "digital_typhoon"

[streams.himawari8.ingest]
source = "{data}/hrit"
reader = "ahi_hrit"

[streams.meteosat9.ingest]
source = "{data}/hrit"
reader = "seviri_l1b_hrit"
"""


class Platform(NamedTuple):
    """A running installation: Airflow's API and the store that its steps write to."""

    airflow: Airflow
    store: Store

    def run(self, dag_id: str, **conf: str) -> dict[str, str | None]:
        """Trigger a DAG by hand and wait for its end; task → state."""
        run_id = self.airflow.trigger(dag_id, conf)
        *_, states = self.airflow.follow(dag_id, run_id)
        for task, state in states.items():
            assert state not in ("failed", "upstream_failed"), (
                task,
                self.airflow.log(dag_id, run_id, task)[-30:],
            )
        return states


@pytest.fixture(scope="module")
def platform(shared_data: Path) -> Iterator[Platform]:
    """Airflow, its database and the model server, with a settings file for the archives beside the project."""
    with tempfile.TemporaryDirectory(prefix="eyewall-real-") as name:
        var = Path(name) / "var"
        var.mkdir()
        settings = Path(name) / "eyewall.toml"
        settings.write_text(SETTINGS.format(var=var, data=shared_data, ports=Ports.free()))
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "EYEWALL"))}
        installation = Installation.of({**environ, "EYEWALL_SETTINGS": str(settings)}, var)
        try:
            up(installation, lambda text: None)
            with installation.client() as airflow:
                for dag_id in ("ingest", "retrain", "forecast"):
                    airflow.unpause(dag_id)
                yield Platform(airflow, Store(str(var / "store")))
        finally:
            down(installation)


@pytest.mark.parametrize(
    ("stream", "slot_from", "slot_to", "frames", "min_k", "max_k"),
    [
        # Temperatures are those that satpy gives for these files, to 0.05 K.
        pytest.param("himawari8", "2020-09-20T11:00Z", "2020-09-20T12:00Z", 1, 195.0, 276.4, id="himawari-8-hrit"),
        pytest.param("meteosat9", "2010-10-11T14:00Z", "2010-10-11T15:00Z", 1, 182.7, 313.8, id="meteosat-9-hrit"),
        pytest.param("podul", "2007-10-01T00:00Z", "2007-11-01T00:00Z", 24, None, None, id="podul-mtsat-1r"),
        pytest.param("corrupt", "1987-04-01T00:00Z", "1987-05-01T00:00Z", 5, None, None, id="198702-gms-3"),
    ],
)
def test_real_files_of_four_satellites_become_frames_in_kelvin(
    platform: Platform, stream: str, slot_from: str, slot_to: str, frames: int, min_k: float | None, max_k: float | None
) -> None:
    platform.run("ingest", stream=stream, slot_from=slot_from, slot_to=slot_to)

    keys = list_frames(platform.store, stream)
    assert len(keys) == frames
    quality = read_frame(platform.store, keys[0].path).quality
    if min_k is not None:
        assert float(quality["min"]) == pytest.approx(min_k, abs=0.05)
        assert float(quality["max"]) == pytest.approx(max_k, abs=0.05)
    assert 150 < float(quality["min"]) < float(quality["max"]) < 340


def test_the_corrupt_file_of_198702_is_in_quarantine_with_its_reason(platform: Platform) -> None:
    """Alone of its six; it claims temperatures that no cloud has. Needs the run of the test above."""
    found = platform.store.list_files("quarantine/corrupt", ".reason.json")

    assert [name.split("/")[-1].split("-GMS3")[0] for name in found] == ["1987041204-198702"]
    assert "no cloud or ground has such temperatures" in platform.store.read_json(found[0])["reason"]


def test_cwb_pictures_and_ibtracs_become_a_verified_and_served_forecast(platform: Platform) -> None:
    ingest = platform.run("ingest", slot_from="1998-01-01T00:00Z", slot_to="2011-01-01T00:00Z")
    retrain = platform.run("retrain")

    assert ingest == {"ingest": "success"}
    assert len(list_frames(platform.store, "cwb")) == 840
    steps = ("records", "train", "verify", "gate", "publish")
    assert {step: retrain[step] for step in steps} == dict.fromkeys(steps, "success")
    decision = platform.store.read_json(platform.store.list_files("decisions", "decision.json")[0])
    assert decision["verdict"] == "yes"
    report = platform.store.read_json(platform.store.list_files("evaluations", "report.json")[0])
    scores = report["leads"]["24"]
    assert (scores["n"], scores["storms"]) == (1040, 58)
    # Untuned and briefly trained: between an ideal forecast and what the gate lets through.
    assert 100 < scores["model"]["mean_km"] < 1.02 * scores["cliper"]["mean_km"]

    forecast = platform.run("forecast", base_time="2010-10-20T12:00Z", storm="2010285N13145")

    assert forecast == {"forecast": "success"}
    path = "forecasts/cwb/20101020T120000Z/2010285N13145"
    stored = platform.store.read_json(f"{path}.json")
    assert [point["lead_h"] for point in stored["forecast"]] == [6, 12, 24, 48, 72]
    assert json.loads(platform.store.read_bytes(f"{path}.geojson"))["type"] == "FeatureCollection"
    assert platform.store.read_bytes(f"{path}.png").startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "conf",
    [
        pytest.param({"stream": "../../etc"}, id="stream-climbs-out"),
        pytest.param({"stream": "cwb; rm -rf /"}, id="shell-text"),
        pytest.param({"slot_from": "$(reboot)"}, id="time-is-shell-text"),
        pytest.param({"stream": 7}, id="not-a-text"),
    ],
)
def test_hostile_conf_is_refused_by_the_api(platform: Platform, conf: dict[str, str]) -> None:
    from eyewall.contracts.errors import InputError

    with pytest.raises(InputError, match="Airflow answers 4"):
        platform.airflow.trigger("ingest", conf)


def test_an_unknown_conf_field_fails_the_run_and_starts_nothing(platform: Platform) -> None:
    run_id = platform.airflow.trigger("ingest", {"command": "touch /tmp/x"})
    *_, states = platform.airflow.follow("ingest", run_id)

    assert states == {"ingest": "failed"}
    assert any("unknown conf fields ['command']" in line for line in platform.airflow.log("ingest", run_id, "ingest"))
