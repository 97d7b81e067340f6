"""The step ``eyewall find-centre``: frames → positions of storms with their spread, scored where best tracks are known.

``positions.csv`` has one row for each first guess, and with ``basin`` one for each place that may be a storm;
``report.json`` the scores. First guesses come from a file, or are made by moving best tracks at random: the distance
of these guesses stands beside every score, so that it can be seen what was gained.
"""

import csv
import json
import time
from pathlib import Path
from typing import Any, Final

import pandas as pd

from eyewall import __version__
from eyewall.besttrack import table as t
from eyewall.besttrack.digest import tracks_sha256
from eyewall.besttrack.read import read_tracks
from eyewall.centre.card import KIND as CENTRE
from eyewall.centre.card import CentreCard, read_lines, weights_name
from eyewall.centre.cases import Case, find_cases, of_seasons
from eyewall.centre.charts import Charts
from eyewall.centre.guesses import read_guesses
from eyewall.centre.inputs import Frames, frames_of
from eyewall.centre.scores import basin_scores, guess_scores
from eyewall.centre.search import Guess, Position, moved_guesses, search_basin, search_guesses
from eyewall.contracts.errors import InputError
from eyewall.contracts.image_jobs import FindCentreJob
from eyewall.contracts.layout import artifact_dir, digest_of
from eyewall.contracts.manifest import Manifest, Receipt
from eyewall.storage import Artifact, Store, find, resolve

KIND: Final = "positions"
#: Raise it when the same inputs and job would give other positions.
FORMAT: Final = 1
POSITIONS_NAME, REPORT_NAME = "positions.csv", "report.json"
_NOT_DECISIVE: Final = {"store", "receipt", "tracks", "guesses", "model_ref"}
_COLUMNS: Final = (
    "search", "time_utc", "frame", "storm_id", "lat_deg", "lon_deg", "radius_68_km", "radius_95_km", "expected",
    "guess_lat_deg", "guess_lon_deg", "best_track_lat_deg", "best_track_lon_deg", "wind_kt", "guess_error_km",
    "error_km",
)  # fmt: skip


def run(job: FindCentreJob) -> Receipt:
    """Search, or find the positions that this job would give. Raises InputError, TrackError and ContractError."""
    if job.tracks is None and job.guesses is None and not job.basin:
        raise InputError("nothing to search: give --tracks or --guesses for first guesses, or --basin")
    store = Store(job.store)
    centre = resolve(store, job.model_ref, CENTRE)
    frames = frames_of(store, job.stream, job.season_from, job.season_to)
    inputs = {"centre": centre.manifest.sha256(), "frames": frames.sha256}
    if job.tracks is not None:
        inputs["tracks"] = tracks_sha256(job.tracks, job.tracks_format)
    guesses_table = None
    if job.guesses is not None:
        guesses_table, inputs["guesses"] = read_guesses(job.guesses)
    config = job.model_dump(mode="json", exclude=_NOT_DECISIVE) | {"format": FORMAT}
    path = artifact_dir("positions", digest_of(config | inputs))
    present = find(store, path)
    if present is not None:
        return _receipt(present)
    began = time.monotonic()
    made = _search(job, store, centre, frames, guesses_table, inputs, config, path)
    return _receipt(made, time.monotonic() - began)


def _search(
    job: FindCentreJob, store: Store, centre: Artifact, frames: Frames, guesses_table: pd.DataFrame | None,
    inputs: dict[str, str], config: dict[str, Any], path: str,
) -> Artifact:  # fmt: skip
    card = CentreCard.read(centre.folder())
    charts = Charts(store, card.scale.km_per_px, read_lines(centre.folder()))
    for frame, reason in frames.damaged.items():
        charts.leave_out(frame, reason)
    cases: list[Case] = []
    if job.tracks is not None:
        cases = find_cases(frames.keys, read_tracks(job.tracks, job.tracks_format), charts)
        cases = of_seasons(cases, job.season_from, job.season_to)
    _check_quantity(charts, frames, card)
    guesses = moved_guesses(cases, job.search_km, job.seed)
    if guesses_table is not None:
        guesses = _given_guesses(guesses_table, frames, cases)
    maps = load_maps(centre.folder(), card)
    positions = search_guesses(maps, charts, guesses, job.search_km, card.scale, job.views)
    places = search_basin(maps, charts, frames.keys, cases, card.scale) if job.basin else []
    positions, places = ([_with_factors(p, card) for p in some] for some in (positions, places))
    report = {
        "years": [job.season_from, job.season_to],
        "frames": len(frames.keys),
        "cases": len(cases),
        "search_km": job.search_km,
        "about_first_guesses": guess_scores(positions, job.resamples),
    }
    if job.basin:
        report["basin_wide"] = basin_scores(places, cases, len(frames.keys), card.basin_threshold, job.resamples)
    manifest = Manifest(
        kind=KIND,
        code_version=__version__,
        inputs=inputs,
        config=config,
        counts={"frames": len(frames.keys), "cases": len(cases), "positions": len(positions), "places": len(places)},
    )
    with store.staging(path) as folder:
        _write_positions(folder / POSITIONS_NAME, positions, places)
        (folder / REPORT_NAME).write_text(json.dumps(report, indent=2, sort_keys=True, allow_nan=False) + "\n")
        if job.plots and any(p.truth is not None for p in positions):
            from eyewall.centre.plots import draw

            draw(folder, positions, places, cases, card.basin_threshold)
        return Artifact(store, path, store.commit(folder, path, manifest))


def load_maps(folder: Path, card: CentreCard) -> Any:
    """The network of an artifact of kind ``centre``, as `eyewall.centre.locate` calls it. Raises ContractError."""
    from eyewall.training.tensorflow_setup import prepare

    prepare(0)
    from eyewall.centre.locate import mean_maps
    from eyewall.models.centre import CentreNetwork, build_network
    from eyewall.models.encoder import weights_from

    networks = []
    for member in range(card.members):
        network = build_network(CentreNetwork, card.channels, card.scale.px)
        weights_from(folder / weights_name(member), network)
        networks.append(network)
    return mean_maps(networks)


def _check_quantity(charts: Charts, frames: Frames, card: CentreCard) -> None:
    for key in frames.keys:
        if charts.quantity is not None:
            break
        charts.chart(key.path)
    if charts.quantity not in (None, card.scale.quantity):
        raise InputError(
            f"the frames hold {charts.quantity} and the network reads {card.scale.quantity}: search a stream like the"
            f" one it was trained on, {card.stream!r}"
        )


def _given_guesses(table: pd.DataFrame, frames: Frames, cases: list[Case]) -> list[Guess]:
    """The guesses of a file that a frame of the same time exists for, with their storms' cases where known."""
    known = {(case.path, case.storm_id): case for case in cases}
    made = []
    for key in frames.keys:
        at = pd.Timestamp(key.time.replace(tzinfo=None))
        for row in table[table[t.TIME_UTC] == at].itertuples():
            storm, lat, lon = str(row.storm_id), float(row.lat_deg), float(row.lon_deg)  # type: ignore[arg-type]
            text = key.time.strftime("%Y-%m-%dT%H:%M:%SZ")
            made.append(Guess(key.path, text, storm, lat, lon, known.get((key.path, storm))))
    if not made:
        raise InputError(f"none of {len(table)} first guesses has the time of a frame: give those of the frames' times")
    return made


def _with_factors(position: Position, card: CentreCard) -> Position:
    """The same with radii that hold what they say, by the validation split."""
    from dataclasses import replace

    low, high = (r * f for r, f in zip(position.found.radii_km, card.radius_factors, strict=True))
    return replace(position, found=replace(position.found, radii_km=(low, max(low, high))))


def _write_positions(file: Path, positions: list[Position], places: list[Position]) -> None:
    with file.open("w", newline="") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(_COLUMNS)
        for search, some in (("guess", positions), ("basin", places)):
            rows.writerows([search, *_row(position)] for position in some)


def _row(position: Position) -> list[str]:
    found, guess, truth = position.found, position.guess, position.truth

    def text(value: float, digits: int) -> str:
        return "" if value != value else f"{value:.{digits}f}"  # NaN is an empty cell

    return [
        position.time_utc,
        position.path,
        position.storm_id,
        text(found.lat_deg, 3),
        text(found.lon_deg, 3),
        *(text(radius, 1) for radius in found.radii_km),
        f"{found.expected:.4f}",
        *(["", ""] if guess is None else [text(guess.lat_deg, 3), text(guess.lon_deg, 3)]),
        *(["", "", ""] if truth is None else [text(truth.lat_deg, 3), text(truth.lon_deg, 3), text(truth.wind_kt, 1)]),
        text(position.guess_error_km, 1),
        text(position.error_km, 1),
    ]


def _receipt(positions: Artifact, seconds: float | None = None) -> Receipt:
    report = json.loads((positions.folder() / REPORT_NAME).read_text())
    about = report["about_first_guesses"]
    summary: dict[str, Any] = {"positions": positions.path, **positions.manifest.counts}
    for name in ("median_km", "interval_95_km", "mean_km", "guess_median_km"):
        if name in about:
            summary[name] = about[name]
    basin = report.get("basin_wide", {})
    if "all" in basin:
        summary["basin_median_km"] = basin["all"]["median_km"]
        summary["basin_found_pct"] = basin["found_pct"]
        summary["false_places_a_frame"] = basin["false_places_a_frame"]
    if seconds is not None:
        summary["seconds"] = round(seconds, 1)
    return Receipt(verb=FindCentreJob.verb, result=positions.reference, summary=summary)
