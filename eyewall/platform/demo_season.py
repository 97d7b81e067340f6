"""The demo's season: its settings file, and what the simulator says of it."""

import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from eyewall.contracts.errors import ContractError
from eyewall.platform.ports import Ports

if TYPE_CHECKING:
    from eyewall.platform.demo import Size

STREAM = "demo"
SETTINGS_NAME = "eyewall.toml"
#: Days after the first slot at which the demo asks for a forecast: old enough for a past, young enough for a truth.
_FORECAST_AFTER = timedelta(hours=36)


class Season(NamedTuple):
    """Which days hold slots, in which periods (first and last day, inclusive), and what to forecast."""

    days: tuple[str, ...]
    periods: tuple[tuple[str, str], ...]
    storm: str
    base_time: str


def read_season(folder: Path) -> Season:
    """What the simulator wrote to ``folder``. Raises ContractError when its season.json is not as expected."""
    try:
        found = json.loads((folder / "season.json").read_text())
        last = found["imaged"][-1]
        first_slot = datetime.fromisoformat(last["slots"][0])
        base = next(s for s in last["slots"] if datetime.fromisoformat(s) >= first_slot + _FORECAST_AFTER)
        periods = tuple((_midnight(p["slot_from"]), _last_day(p["slot_to"])) for p in found["periods"])
        return Season(tuple(found["days"]), periods, last["sid"], base)
    except (OSError, ValueError, KeyError, IndexError, StopIteration) as error:
        raise ContractError(f"{folder / 'season.json'} is not what the demo expects: {error!r}") from None


def _midnight(time: str) -> str:
    return f"{time[:10]}T00:00:00Z"


def _last_day(end: str) -> str:
    """Day of the last moment before ``end``."""
    return f"{datetime.fromisoformat(end) - timedelta(seconds=1):%Y-%m-%d}T00:00:00Z"


def settings_text(var: Path, size: "Size", ports: Ports, backend: str = "process") -> str:
    """The settings file of the demo: one stream, every step of it, one ingest run a day."""
    tracks = str(var / "season" / "besttrack.csv")
    last = size.last_season
    stream: dict[str, dict[str, Any]] = {
        "ingest": {"source": str(var / "season" / "hsd"), "reader": "ahi_hsd"},
        "records": {
            "tracks": tracks,
            "train_from": size.first_season,
            "train_to": last - 2,
            "val_to": last - 1,
            "test_to": last,
            "frames": 2,
            "px": size.px,
            "km_per_px": 40.0 * 32 / size.px,
            "shards": 2,
        },
        "train": {
            "model": "fusion",
            "strategy": "multi_worker",
            "workers": 2,
            "steps": size.steps,
            "batch": size.batch,
            "checkpoint_every": max(1, size.steps // 2),
        },
        "verify": {"truth": tracks, "season_from": last, "season_to": last, "fit_to": last - 2},
        "gate": {},
        "publish": {},
        "forecast": {"tracks": tracks, "truth": True},
    }
    lines = [
        "# Written by `eyewall platform demo`: copy it to make an installation of your own.",
        f"store = {json.dumps(str(var / 'store'))}",
        f"backend = {json.dumps(backend)}",
        f"default_stream = {json.dumps(STREAM)}",
        'ingest_cron = "0 0 * * *"  # the season has four slots a day: one run a day',
        *(f"{name}_port = {port}" for name, port in ports._asdict().items()),
    ]
    for verb, values in stream.items():
        lines += ["", f"[streams.{STREAM}.{verb}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    return "\n".join(lines + (_docker_lines(var) if backend == "docker" else [])) + "\n"


def _docker_lines(var: Path) -> list[str]:
    """The tables for steps in containers, which see the store and the season at the same paths as Airflow does."""
    mounts = [(var / "store", "false"), (var / "season", "true")]
    return [
        "",
        "[docker]",
        'network = "host"  # the model server listens on this machine\'s loopback address only',
        f'user = "{os.getuid()}:{os.getgid()}"  # so that whoever runs the demo owns what it leaves',
        "mounts = [",
        *(f"  {{source = {json.dumps(str(f))}, target = {json.dumps(str(f))}, read_only = {ro}}}," for f, ro in mounts),
        "]",
        "",
        "[docker.resources.train]",
        f"cpus = {min(2, os.cpu_count() or 1)}  # two workers",
    ]
