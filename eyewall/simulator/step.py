"""The step ``simulate``: a season from a seed → best tracks, satellite files, and a plain list of what was written.

    out/besttrack.csv              every storm of every season, in the official IBTrACS CSV
    out/hsd/<YYYYMMDD>/HS_….bz2    AHI HSD Target Area files of the imaged storms, some damaged on purpose
    out/season.json                seed and arguments, storms, slots, which files are damaged and how

Equal arguments give equal bytes. The folder is made beside its place and renamed, so it is whole or not there; where
it is there for the same arguments, nothing is done.
"""

import errno
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from eyewall.contracts.errors import InputError
from eyewall.contracts.jobs import SimulateJob
from eyewall.contracts.manifest import Receipt
from eyewall.simulator import ibtracs
from eyewall.simulator.pictures import Picture, plan, write_all
from eyewall.simulator.season import Season, make_seasons
from eyewall.storage import Store
from eyewall.storage.store import fsync_tree

#: Goes up whenever equal arguments would give other bytes.
FORMAT = 1
TRACKS_NAME, HSD_NAME, SEASON_NAME = "besttrack.csv", "hsd", "season.json"


def _iso(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _arguments(job: SimulateJob, imaged_seasons: Sequence[int]) -> dict[str, Any]:
    """What determines the result."""
    fields = job.model_dump(mode="json", exclude={"store", "receipt", "out"})
    return {"format": FORMAT, **fields, "imaged_seasons": list(imaged_seasons)}


def _season_json(
    arguments: dict[str, Any], cadence: timedelta, seasons: Sequence[Season], pictures: Sequence[Picture],
    names: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    """The plain dict of what was written. ``slot_to`` is exclusive, as in the ingest job."""
    storms = [storm for season in seasons for storm in season.storms]
    periods = [
        {
            "season": season.year,
            "slot_from": _iso(season.imaged[0].slots[0]),
            "slot_to": _iso(season.imaged[-1].slots[-1] + cadence),
        }
        for season in seasons
        if season.imaged
    ]
    imaged = [imaging for season in seasons for imaging in season.imaged]
    damaged = [
        {"file": f"{HSD_NAME}/{name}", "kind": picture.damage, "slot": _iso(picture.slot)}
        for picture, name in zip(pictures, names, strict=True)
        if picture.damage
    ]
    return {
        "arguments": arguments,
        "seed": arguments["seed"],
        "storms": [
            {
                "sid": storm.sid,
                "name": storm.name,
                "season": storm.season,
                "first_fix": _iso(storm.times[0]),
                "last_fix": _iso(storm.times[-1]),
                "max_wind_kt": float(storm.wind_kt.max()),
            }
            for storm in storms
        ],
        "imaged": [
            {"sid": i.storm.sid, "name": i.storm.name, "season": i.storm.season, "slots": [_iso(s) for s in i.slots]}
            for i in imaged
        ],
        "periods": periods,
        "days": sorted({f"{picture.slot:%Y-%m-%d}" for picture in pictures}),
        "slots": sum(len(i.slots) for i in imaged),
        "slot_from": periods[0]["slot_from"] if periods else None,
        "slot_to": periods[-1]["slot_to"] if periods else None,
        "files": len(names),
        "damaged": damaged,
    }


def _summary(out: Path, season: dict[str, Any]) -> dict[str, Any]:
    return {
        "season": str(out / SEASON_NAME),
        "tracks": str(out / TRACKS_NAME),
        "hsd": str(out / HSD_NAME),
        "storms": len(season["storms"]),
        "imaged_storms": len(season["imaged"]),
        "slots": season["slots"],
        "files": season["files"],
        "damaged": len(season["damaged"]),
        "days": len(season["days"]),
        "slot_from": season["slot_from"],
        "slot_to": season["slot_to"],
        "periods": season["periods"],
    }


def _present(out: Path, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """What an earlier run wrote for the same arguments; None when ``out`` is not there (or an empty folder)."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        season: dict[str, Any] = json.loads((out / SEASON_NAME).read_bytes())
        found = season["arguments"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{out} exists and is no simulated season: remove it or give another --out") from None
    if found == arguments:
        return season
    other = ", ".join(f"{k} = {found.get(k)!r}" for k in arguments if found.get(k) != arguments[k])
    raise InputError(f"{out} holds a season made with other arguments ({other}): remove it or give another --out")


def _years(job: SimulateJob) -> tuple[list[int], list[int]]:
    years = list(range(job.first_season, job.last_season + 1))
    if not years:
        raise InputError(f"first_season = {job.first_season} is after last_season = {job.last_season}: swap them")
    imaged = sorted(set(job.imaged_seasons)) or years[-3:]
    outside = sorted(set(imaged) - set(years))
    if outside:
        raise InputError(f"imaged_seasons = {outside[0]} is not within {years[0]} to {years[-1]}: give one that is")
    return years, imaged


def run(job: SimulateJob) -> Receipt:
    """Write the season to ``job.out``, or find it there. Raises InputError, and StorageError for a full disk."""
    if "://" in job.out:
        raise InputError(f"out = {job.out!r} is not a local folder: the simulator writes to this machine only")
    out = Path(job.out)
    years, imaged_years = _years(job)
    arguments = _arguments(job, imaged_years if job.imaged_storms else [])
    season = _present(out, arguments)
    if season is None:
        made = make_seasons(
            job.seed, years, job.storms_per_season, imaged_years, job.imaged_storms, job.cadence_minutes,
            job.imaged_hours,
        )  # fmt: skip
        pictures = plan(job, [imaging for one in made for imaging in one.imaged])
        with Store(str(out.parent)).staging(out.name) as folder:
            names = write_all(pictures, folder / HSD_NAME)
            (folder / TRACKS_NAME).write_text(ibtracs.to_csv(s for one in made for s in one.storms), encoding="ascii")
            season = _season_json(arguments, timedelta(minutes=job.cadence_minutes), made, pictures, names)
            (folder / SEASON_NAME).write_text(json.dumps(season, sort_keys=True, indent=2) + "\n", encoding="ascii")
            _commit(folder, out, arguments)
    return Receipt(verb=job.verb, summary=_summary(out, season))


def _commit(folder: Path, out: Path, arguments: dict[str, Any]) -> None:
    """Make the staged ``folder`` the result; of two runs at once the first wins, and the second must be its equal."""
    folder.chmod(0o755)
    fsync_tree(folder)
    try:
        folder.rename(out)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY) or _present(out, arguments) is None:
            raise
