"""Active storms are forecast by the server and stored as JSON, GeoJSON and a map, once for the same ground."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_models import Repository, decide, scratch

from eyewall.besttrack import table as t
from eyewall.besttrack.sphere import displacement_km
from eyewall.contracts import features as f
from eyewall.contracts.errors import ContractError, InputError, NothingNew, ServingError
from eyewall.contracts.features import ImageSpec, input_shapes
from eyewall.contracts.jobs import ForecastJob
from eyewall.contracts.layout import frame_path
from eyewall.contracts.manifest import Manifest
from eyewall.serving import forecast_step
from eyewall.serving.active_storms import active_storms
from eyewall.serving.forecast_files import TrackForecast, as_geojson, as_json, forecasts_of

SPEC = ImageSpec(frames=2, px=8, km_per_px=50.0)
BASE = pd.Timestamp("2016-09-12 06:00")
#: The toy model goes so many km an hour to the east and to the north.
EAST_KM_H, NORTH_KM_H = 10.0, 20.0


def model(images: bool) -> Path:
    """A SavedModel with the contract's signature that moves every storm alike, and 1 km more north for each frame."""
    import tensorflow as tf

    spec = SPEC if images else ImageSpec(frames=0)
    specs = {name: tf.TensorSpec((None, *shape), tf.float32, name=name) for name, shape in input_shapes(spec).items()}
    leads = tf.constant(f.LEADS_H, tf.float32)

    @tf.function(input_signature=[specs])
    def serve(features):
        lat, lon = features[f.PAST_LAT_DEG][:, -1:], features[f.PAST_LON_DEG][:, -1:]
        seen = tf.reduce_sum(features[f.IMAGE_VALID], axis=1, keepdims=True) if images else tf.zeros_like(lat)
        north = NORTH_KM_H * leads[None, :] + seen
        east = EAST_KM_H * leads[None, :] + tf.zeros_like(lat)
        km_per_degree = 111.195
        return {
            f.OUT_DISPLACEMENT_KM: tf.stack([east, north], axis=-1),
            f.OUT_LAT_DEG: lat + north / km_per_degree,
            f.OUT_LON_DEG: tf.math.floormod(lon + east / km_per_degree, 360.0),
            f.OUT_CLIPER_DISPLACEMENT_KM: tf.stack([east, 0.5 * north], axis=-1),
        }

    folder = scratch() / "saved_model"
    module = tf.Module()
    module.serve = serve
    tf.saved_model.save(module, str(folder), signatures=serve.get_concrete_function())
    return folder


@pytest.fixture(scope="module")
def models():
    return {images: model(images) for images in (False, True)}


def put(repository: Repository, saved: Path, images: bool, card: object = None) -> str:
    spec = SPEC if images else ImageSpec(frames=0)
    path = f"models/toy{images}"
    with repository.store.staging(path) as folder:
        shutil.copytree(saved, folder / "saved_model")
        (folder / "model.json").write_text(json.dumps(card or {"images": spec.model_dump()}))
        repository.store.commit(folder, path, Manifest(kind="model", code_version="test"))
    return decide(repository.store, path)


def fixes(
    storm: str, lat: float, lon: float, start: str = "2016-09-09 06:00", n: int = 29, step_h: int = 6
) -> pd.DataFrame:
    """A storm that goes 0.5° north and 0.8° west each step."""
    i = np.arange(n)
    return pd.DataFrame(
        {
            t.STORM_ID: storm,
            t.SEASON: 2016,
            t.NAME: "TOY",
            t.TIME_UTC: pd.date_range(start, periods=n, freq=f"{step_h}h"),
            t.LAT_DEG: lat + 0.5 * i,
            t.LON_DEG: (lon - 0.8 * i) % 360,
            t.WIND_KT: 40.0 + i,
            t.PRESSURE_HPA: 995.0 - i,
            t.INTERPOLATED: False,
        }
    ).astype(t.DTYPES)


@pytest.fixture
def tracks(monkeypatch):
    """The table that the step reads; tests change it in place."""
    holder = {"table": fixes("201614", 10.0, 140.0)}
    monkeypatch.setattr(forecast_step, "read_tracks", lambda *_: holder["table"])
    return holder


@pytest.fixture
def ask(repository, models, server, tracks):
    """Forecast with a track-only model on a running server."""
    repository.publish(0.0, decision_ref=put(repository, models[False], False), server=server.address)

    def run(**fields: object):
        values = {"store": repository.url, "tracks": "toy", "server": server.address, "base_time": str(BASE)} | fields
        return forecast_step.run(ForecastJob.parse({k: v for k, v in values.items() if v is not None}))

    return run


def test_a_forecast_is_the_models_answer_in_every_file(ask, repository):
    receipt = ask()
    assert receipt.result.uri == "forecasts/track/20160912T060000Z"
    (one,) = receipt.summary["forecasts"]
    # Base fix: 12 steps of 6 h after the start, at 16.0° N, 140 − 9.6 = 130.4° E. After 24 h the toy is 480 km north
    # (4.317°) and 240 km east (240 / 111.195 = 2.158° in its flat world) of it.
    assert one["storm"] == "201614"
    assert one["base_time"] == "2016-09-12T06:00:00Z"
    assert [lead for lead, _, _ in one["track"]] == [6, 12, 24, 48, 72]
    assert one["track"][2] == [24, pytest.approx(20.32, abs=0.01), pytest.approx(132.56, abs=0.01)]
    assert receipt.summary["version"] == 1

    stored = repository.store.read_json(one["path"])
    assert [[p["lead_h"], p["lat_deg"], p["lon_deg"]] for p in stored["forecast"]] == one["track"]
    assert (stored["past"][-1]["lat_deg"], stored["past"][-1]["lon_deg"]) == (16.0, 130.4)
    assert stored["model"] == {"name": "track", "version": 1}
    # CLIPER's displacement leads to a point that the sphere's own inverse gives back: 240 km east, 240 km north.
    cliper = stored["cliper"][2]
    moved = displacement_km(16.0, 130.4, cliper["lat_deg"], cliper["lon_deg"])
    np.testing.assert_allclose(moved, [240.0, 240.0], atol=1.0)
    assert "truth" not in stored

    geojson = repository.store.read_json(one["path"].replace(".json", ".geojson"))
    assert [p["properties"]["lead_h"] for p in geojson["features"][1:]] == [0, 6, 12, 24, 48, 72]
    png = repository.store.read_bytes(one["path"].replace(".json", ".png"))
    assert png.startswith(b"\x89PNG")


def test_the_same_again_asks_nobody_and_writes_nothing(ask, repository, server):
    first = ask()
    before = {p: p.stat().st_mtime_ns for p in Path(repository.url).rglob("forecasts/**/*")}
    server.stop(1.0)
    assert ask() == first
    assert {p: p.stat().st_mtime_ns for p in Path(repository.url).rglob("forecasts/**/*")} == before


def test_what_came_later_changes_nothing_unless_the_truth_is_drawn(ask, repository, tracks, server):
    first = ask()
    tracks["table"] = fixes("201614", 10.0, 140.0, n=40)
    assert ask() == first
    with_truth = ask(truth=True)
    (one,) = with_truth.summary["forecasts"]
    stored = repository.store.read_json(one["path"])
    assert [p["lead_h"] for p in stored["truth"]] == [6, 12, 24, 48, 72]
    # After 6 h the truth is at 16.5° N, 129.6° E; the forecast is near 17.08° N, 130.94° E: 64 km and 142 km away.
    assert one["error_km"]["6"] == pytest.approx(np.hypot(64, 142), rel=0.02)
    assert with_truth.result.sha256 != first.result.sha256


def test_two_storms_go_in_one_request_and_one_alone_keeps_the_others_forecast(ask, repository, tracks):
    tracks["table"] = pd.concat([fixes("201614", 10.0, 140.0), fixes("201615", 5.0, 115.0)], ignore_index=True)
    both = ask()
    assert [one["storm"] for one in both.summary["forecasts"]] == ["201614", "201615"]
    folder = Path(repository.url) / both.result.uri
    other = (folder / "201615.json").read_bytes()
    alone = ask(storm="201614", truth=True)
    assert [one["storm"] for one in alone.summary["forecasts"]] == ["201614"]
    assert (folder / "201615.json").read_bytes() == other
    manifest = repository.store.read_manifest(both.result.uri)
    assert {e.path for e in manifest.files} == {
        f"{s}.{x}" for s in ("201614", "201615") for x in ("json", "geojson", "png")
    }
    assert manifest.counts == {"storms": 2}


@pytest.mark.parametrize(
    ("base", "active"),
    [
        pytest.param("2016-09-16 06:00", ["201614"], id="at-the-last-fix"),
        pytest.param("2016-09-16 12:00", ["201614"], id="six-hours-after-it"),
        pytest.param("2016-09-16 12:01", [], id="a-minute-later"),
        pytest.param("2016-09-09 05:00", [], id="before-the-first"),
        pytest.param("2016-09-10 00:00", [], id="too-young"),
        pytest.param("2016-09-10 06:00", ["201614"], id="a-day-old"),
    ],
)
def test_active_is_a_fix_within_six_hours_and_a_day_of_past(base, active):
    storms, passed_over = active_storms(fixes("201614", 10.0, 140.0), pd.Timestamp(base))
    assert [s.storm_id for s in storms] == active
    assert ("201614" in passed_over) == (base == "2016-09-10 00:00")


def test_between_fixes_the_forecast_starts_from_the_newest_fix_with_the_past_it_needs():
    extra = fixes("201614", 10.0, 140.0)
    odd = extra.iloc[[12]].assign(**{t.TIME_UTC: pd.Timestamp("2016-09-12 07:30"), t.LAT_DEG: 16.2})
    (storm,), _ = active_storms(pd.concat([extra, odd]), pd.Timestamp("2016-09-12 08:00"))
    assert storm.base_time == BASE  # the odd fix has none exactly 6 h before it
    assert storm.past[t.TIME_UTC].max() == BASE
    assert storm.later[t.TIME_UTC].min() > BASE


def test_no_active_storm_is_nothing_new(ask):
    with pytest.raises(NothingNew, match="no storm to forecast at 2017-01-01"):
        ask(base_time="2017-01-01T00:00")


@pytest.mark.parametrize(
    ("storm", "sentence"),
    [
        pytest.param("nope", "'nope' is not in the tracks", id="unknown"),
        pytest.param("../../etc/passwd", "is not in the tracks", id="a-path"),
        pytest.param("201614; rm -rf /", "is not in the tracks", id="a-command"),
    ],
)
def test_a_storm_that_is_not_there_is_refused(ask, storm, sentence):
    with pytest.raises(InputError, match=sentence):
        ask(storm=storm)


def test_a_storm_asked_for_outside_of_its_life_is_refused_with_its_life(ask):
    with pytest.raises(InputError, match="its fixes reach from 2016-09-09 06:00 to 2016-09-16 06:00"):
        ask(storm="201614", base_time="2016-10-01T00:00")


def test_a_storm_with_a_hostile_name_stays_inside_its_folder(ask, repository, tracks):
    tracks["table"] = fixes("../../../evil", 10.0, 140.0)
    (one,) = ask().summary["forecasts"]
    assert one["storm"] == "../../../evil"
    assert one["path"].startswith("forecasts/track/20160912T060000Z/evil-")
    assert not list(Path(repository.url).parent.glob("evil*"))


def test_without_a_model_there_is_nothing_to_forecast_with_yet(repository, tracks):
    with pytest.raises(NothingNew, match="no version of model 'track' is labelled 'stable' yet"):
        forecast_step.run(ForecastJob(store=repository.url, tracks="toy", base_time=str(BASE)))


def test_without_a_server_the_sentence_says_how_to_start_one_and_nothing_is_stored(ask, repository):
    with pytest.raises(ServingError, match="start it with eyewall serve"):
        ask(server="127.0.0.1:1", timeout_s=0.5)
    assert not (Path(repository.url) / "forecasts").exists()


def test_a_model_that_is_no_track_model_is_refused_with_the_reason(repository, tracks, server):
    repository.publish(2.0, server=server.address)
    with pytest.raises(ContractError, match="does not say which images it takes"):
        forecast_step.run(ForecastJob(store=repository.url, tracks="toy", server=server.address, base_time=str(BASE)))


def test_without_a_stream_the_newest_fix_is_the_base_time(ask):
    assert ask(base_time=None).summary["forecasts"][0]["base_time"] == "2016-09-16T06:00:00Z"


# --- with frames


def write_frames(repository: Repository, hours: tuple[float, ...]) -> None:
    from pyresample import AreaDefinition

    from eyewall.satellite.frame import Frame, write_frame

    area = AreaDefinition("box", "", "", "EPSG:4326", 90, 60, (115.0, 5.0, 145.0, 25.0))
    lat, lon = np.mgrid[25 - 1 / 6 : 5 : -1 / 3, 115 + 1 / 6 : 145 : 1 / 3]
    for hour in hours:
        time = (BASE - pd.Timedelta(hours=hour)).tz_localize("UTC").to_pydatetime()
        data = (290 - 80 * np.exp(-((lat - 16) ** 2 + (lon - 130.4) ** 2) / 9)).astype(np.float32)
        frame = Frame(data, area, "brightness_temperature_k", time, time, time, "Himawari-9", "AHI", "ahi_hsd", "B13")
        write_frame(repository.store, frame_path("toy", time), frame)


def test_frames_of_the_past_are_sent_and_those_of_the_future_are_not(repository, models, server, tracks):
    repository.publish(0.0, decision_ref=put(repository, models[True], True), server=server.address)
    write_frames(repository, (-3.0, 1.0, 4.0, 40.0))
    receipt = forecast_step.run(
        ForecastJob(store=repository.url, tracks="toy", stream="toy", server=server.address, base_time=str(BASE))
    )
    assert receipt.result.uri == "forecasts/toy/20160912T060000Z"
    (one,) = receipt.summary["forecasts"]
    stored = repository.store.read_json(one["path"])
    # 1 h and 4 h old; the one of 40 h is too old, and the one of 3 h later was not known at the base time
    times = [datetime(2016, 9, 12, h, tzinfo=UTC) for h in (2, 5)]
    assert stored["frames"] == [frame_path("toy", time) for time in times]
    # the toy model adds 1 km for each of the two frames: 24 · 20 + 2 = 482 km = 4.335°
    assert one["track"][2][1] == pytest.approx(16.0 + 482 / 111.195, abs=0.01)
    again = repository.store.read_bytes(one["path"].replace(".json", ".png"))
    assert len(again) > 20_000  # clouds beneath, not an empty sea


@pytest.mark.parametrize(
    ("card", "job", "hours"),
    [
        pytest.param({}, {}, (2, 5), id="an old card: at most 12 h old, at least 1 h apart"),
        pytest.param({"max_frame_age_h": 48.0, "min_frame_gap_h": 4.0}, {}, (-10, 5), id="the card's own rule"),
        pytest.param({"max_frame_age_h": 3.0, "min_frame_gap_h": None}, {}, (5,), id="half a rule"),
        pytest.param(
            {"max_frame_age_h": 48.0, "min_frame_gap_h": 4.0}, {"max_frame_age_h": 12.0}, (5,), id="the job's"
        ),
    ],
)
def test_frames_are_taken_as_for_the_records_of_the_served_model(repository, models, server, tracks, card, job, hours):
    card = {"images": SPEC.model_dump(), **card}
    repository.publish(0.0, decision_ref=put(repository, models[True], True, card), server=server.address)
    write_frames(repository, (1.0, 4.0, 16.0))  # at 05:00, at 02:00, and at 14:00 the day before
    receipt = forecast_step.run(
        ForecastJob.parse(
            {
                "store": repository.url,
                "tracks": "toy",
                "stream": "toy",
                "server": server.address,
                "base_time": str(BASE),
            }
            | job
        )
    )
    stored = repository.store.read_json(receipt.summary["forecasts"][0]["path"])
    times = [datetime(2016, 9, 12, tzinfo=UTC) + timedelta(hours=h) for h in hours]
    assert stored["frames"] == [frame_path("toy", time) for time in times]


def test_a_card_with_hours_that_are_none_is_refused(repository, models, server, tracks):
    card = {"images": SPEC.model_dump(), "max_frame_age_h": "soon"}
    repository.publish(0.0, decision_ref=put(repository, models[True], True, card), server=server.address)
    with pytest.raises(ContractError, match="does not say which images it takes"):
        forecast_step.run(
            ForecastJob(store=repository.url, tracks="toy", stream=None, server=server.address, base_time=str(BASE))
        )


def test_a_stream_without_a_frame_is_nothing_new(ask):
    with pytest.raises(NothingNew, match="has no frame yet"):
        ask(stream="toy", base_time=None)


def test_a_model_that_takes_images_does_without_when_no_stream_is_named(repository, models, server, tracks):
    repository.publish(0.0, decision_ref=put(repository, models[True], True), server=server.address)
    receipt = forecast_step.run(
        ForecastJob(store=repository.url, tracks="toy", server=server.address, base_time=str(BASE))
    )
    assert receipt.summary["forecasts"][0]["track"][2][1] == pytest.approx(16.0 + 480 / 111.195, abs=0.01)


# --- GeoJSON and the date line


def test_a_track_across_the_date_line_is_cut_there():
    (storm,), _ = active_storms(fixes("201614", 10.0, 190.0), BASE)
    assert storm.base_lon_deg == pytest.approx(180.4)
    points = [{"lead_h": 6, "lat_deg": 16.4, "lon_deg": 179.6}, {"lead_h": 12, "lat_deg": 17.0, "lon_deg": 178.0}]
    line = as_geojson(TrackForecast(storm, "track", 1, points))["features"][0]["geometry"]
    # Half-way in longitude from −179.6 to 179.6 the track is half-way in latitude from 16.0 to 16.4.
    assert line["coordinates"] == [[[-179.6, 16.0], [-180.0, 16.2]], [[180.0, 16.2], [179.6, 16.4], [178.0, 17.0]]]


def test_the_map_of_a_storm_on_the_date_line_is_as_narrow_as_any_other():
    from eyewall.serving.map import _extent

    points = [{"lead_h": 6, "lat_deg": 16.4, "lon_deg": 179.6}]
    widths = []
    for lon in (140.0, 190.0, 5.0):
        (storm,), _ = active_storms(fixes("201614", 10.0, lon), BASE)
        moved = [{**points[0], "lon_deg": (storm.base_lon_deg - 0.8) % 360}]
        west, east, _, _ = _extent(TrackForecast(storm, "track", 1, moved), truth=True)
        widths.append(round(east - west, 6))
    assert widths[0] == widths[1] == widths[2] < 60


def test_the_same_map_is_the_same_bytes():
    from eyewall.serving.map import draw_forecast

    (storm,), _ = active_storms(fixes("201614", 10.0, 140.0), BASE)
    forecast = TrackForecast(storm, "track", 1, [{"lead_h": 6, "lat_deg": 16.4, "lon_deg": 129.6}])
    assert draw_forecast(forecast, [], truth=True) == draw_forecast(forecast, [], truth=True)
    assert draw_forecast(forecast, []) != draw_forecast(forecast, [], truth=True)


# --- circles, and what an answer rests on


def answer(**changes: np.ndarray) -> dict[str, np.ndarray]:
    """A model's answer for one storm that stays where it is, with circles."""
    rows = {f.OUT_LAT_DEG: 16.0, f.OUT_LON_DEG: 130.4, f.OUT_RADIUS_68_KM: 81.26, f.OUT_RADIUS_95_KM: 166.0}
    return {name: np.full((1, 5), value) for name, value in rows.items()} | {f.OUT_SOURCE: np.array([1.0])} | changes


def forecast_of(outputs: dict[str, np.ndarray]) -> TrackForecast:
    (storm,), _ = active_storms(fixes("201614", 10.0, 140.0), BASE)
    (made,) = forecasts_of([storm], outputs, "track", 1, [()])
    return made


def test_circles_and_source_are_in_the_files():
    made = forecast_of(answer())
    stored = as_json(made, with_truth=False)
    assert stored["source"] == "track"
    assert stored["forecast"][2]["radius_68_km"] == 81.3
    assert stored["forecast"][2]["radius_95_km"] == 166.0
    assert "radius_68_km" not in stored["cliper"]
    assert as_geojson(made)["features"][2]["properties"]["radius_68_km"] == 81.3
    assert "radius_68_km" not in as_geojson(made)["features"][1]["properties"]  # the base fix has none


def test_an_answer_that_is_clipers_says_so():
    assert as_json(forecast_of(answer(**{f.OUT_SOURCE: np.array([0.0])})), with_truth=False)["source"] == "cliper"


def test_a_model_of_before_the_circles_is_stored_without():
    plain = {name: value for name, value in answer().items() if name in (f.OUT_LAT_DEG, f.OUT_LON_DEG)}
    stored = as_json(forecast_of(plain), with_truth=False)
    assert "source" not in stored
    assert sorted(stored["forecast"][0]) == ["lat_deg", "lead_h", "lon_deg"]


@pytest.mark.parametrize("radius", [pytest.param(np.nan, id="NaN"), pytest.param(-3.0, id="negative")])
def test_a_radius_that_is_none_is_left_out_and_the_forecast_stays(radius):
    made = forecast_of(answer(**{f.OUT_RADIUS_68_KM: np.full((1, 5), radius)}))
    assert sorted(made.points[0]) == ["lat_deg", "lead_h", "lon_deg", "radius_95_km"]


def test_the_circles_are_drawn():
    from eyewall.serving.map import draw_forecast

    with_circles = forecast_of(answer())
    bare = TrackForecast(with_circles.storm, "track", 1, [
        {k: v for k, v in p.items() if not k.startswith("radius")} for p in with_circles.points
    ])  # fmt: skip
    assert draw_forecast(with_circles, []) != draw_forecast(bare, [])


@pytest.mark.shared_data
def test_a_real_typhoon_is_forecast_from_the_agencys_own_file(shared_data, repository, models, server):
    """Meranti on 12 September 2016, from RSMC Tokyo's text; Malakas is active too, a third one is too young."""
    repository.publish(0.0, decision_ref=put(repository, models[False], False), server=server.address)
    tracks = str(shared_data / "besttrack" / "jma_bst.txt")
    job = ForecastJob(store=repository.url, tracks=tracks, server=server.address, base_time=str(BASE), truth=True)
    summary = forecast_step.run(job).summary
    by_storm = {one["storm"]: one for one in summary["forecasts"]}
    assert set(by_storm) == {"201614", "201615"}
    assert set(summary["passed_over"]) == {"201616"}
    stored = repository.store.read_json(by_storm["201614"]["path"])
    assert (stored["name"], stored["base"]) == ("MERANTI", {"lat_deg": 18.3, "lon_deg": 129.4})
    # 6 h later the agency has it at 18.9° N, 128.2° E
    assert stored["truth"][0] == {"lead_h": 6, "lat_deg": 18.9, "lon_deg": 128.2}
