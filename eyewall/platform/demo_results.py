"""What came of the demo: read from the store's receipts and artifacts alone, as anyone else would."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from eyewall.contracts.errors import StorageError
from eyewall.contracts.layout import receipt_path
from eyewall.contracts.settings import Settings
from eyewall.platform.demo_season import SETTINGS_NAME, STREAM, Season
from eyewall.storage import Store, resolve

MODEL, CLIPER, PERSISTENCE = "model", "cliper", "persistence_6h"
SUMMARY_NAME, PICTURE_NAME = "summary.json", "forecast.png"


@dataclass(frozen=True)
class Results:
    """``summary`` as it is written to summary.json; the rest is for people."""

    summary: dict[str, Any]
    report: dict[str, Any]
    reasons: tuple[str, ...]
    season: Season
    var: Path
    store: str

    def finished(self, seconds: float) -> "Results":
        """The same, with its duration; written to summary.json."""
        summary = {"seconds": round(seconds, 1), **self.summary}
        (self.var / SUMMARY_NAME).write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n")
        return replace(self, summary=summary)


def collect(settings: Settings, season: Season, run_ids: dict[str, str], var: Path) -> Results:
    """Read the results of the runs ``run_ids`` (DAG → run) from the store, and copy the picture beside the summary."""
    store = Store(settings.store)
    retrain = run_ids["retrain"]
    records = resolve(store, receipt_path("retrain", retrain, "records"), "records")
    evaluation = resolve(store, receipt_path("retrain", retrain, "verify"), "evaluation")
    decision = resolve(store, receipt_path("retrain", retrain, "gate"), "decision")
    report = store.read_json(f"{evaluation.path}/report.json")
    verdict = store.read_json(f"{decision.path}/decision.json")
    summary = {
        "slots_ok": len(store.list_files(f"frames/{STREAM}", ".nc")),
        "slots_quarantined": len(store.list_files(f"quarantine/{STREAM}", ".reason.json")),
        "records": sum(records.manifest.counts[split] for split in ("train", "val", "test")),
        "leads": {lead: _lead(scores) for lead, scores in _by_lead(report)},
        "decision": verdict["verdict"],
        "served_version": _served_version(store, retrain),
        "forecast": _forecast(store, run_ids, season, var),
    }
    return Results(summary, report, tuple(verdict["reasons"]), season, var, settings.store)


def _by_lead(report: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(lead in hours, scores), the shortest lead first: JSON sorts 12 before 6."""
    return sorted(report["leads"].items(), key=lambda item: int(item[0]))


def _lead(scores: dict[str, Any]) -> dict[str, Any]:
    def mean(method: str) -> float | None:
        return (scores.get(method) or {}).get("mean_km")

    return {
        "model_km": mean(MODEL),
        "cliper_km": mean(CLIPER),
        "persistence_km": mean(PERSISTENCE),
        "n": scores["n"],
    }


def _served_version(store: Store, retrain: str) -> int | None:
    """The version that `publish` made; None where the gate said no."""
    try:
        receipt = store.read_json(receipt_path("retrain", retrain, "publish"))
    except StorageError:
        return None
    version = receipt["summary"].get("version")
    return None if version is None else int(version)


def _forecast(store: Store, run_ids: dict[str, str], season: Season, var: Path) -> list[list[float]]:
    """[[lead_h, lat_deg, lon_deg], …] of the demo's storm, and its picture into ``var``; empty without a model."""
    if "forecast" not in run_ids:
        return []
    artifact = resolve(store, receipt_path("forecast", run_ids["forecast"], "forecast"), "forecast")
    stored = store.read_json(f"{artifact.path}/{season.storm}.json")
    shutil.copyfile(artifact.folder() / f"{season.storm}.png", var / PICTURE_NAME)
    return [[point["lead_h"], point["lat_deg"], point["lon_deg"]] for point in stored["forecast"]]


def show(results: Results, console: Console) -> None:
    """Table, decision, forecast, and where to look."""
    table = Table(title="Mean great-circle error, km (95 % interval), unseen season", title_justify="left")
    for heading in ("lead", "cases", "storms", "model", "CLIPER", "persistence"):
        table.add_column(heading, justify="right")
    for lead, scores in _by_lead(results.report):
        cells = (_cell(scores.get(method)) for method in (MODEL, CLIPER, PERSISTENCE))
        table.add_row(f"{lead} h", str(scores["n"]), str(scores["storms"]), *cells)
    console.print(table)
    summary = results.summary
    console.print(f"Gate: {summary['decision']}")
    for reason in results.reasons:
        console.print(f"  - {reason}", markup=False, soft_wrap=True)
    if summary["forecast"]:
        console.print(f"Forecast for {results.season.storm} from {results.season.base_time}:")
        for lead_h, lat_deg, lon_deg in summary["forecast"]:
            console.print(f"  +{lead_h:.0f} h  {abs(lat_deg):4.1f} {'N' if lat_deg >= 0 else 'S'}  {lon_deg:5.1f} E")
    console.print(
        f"{summary['slots_ok']} slots read, {summary['slots_quarantined']} files in quarantine, "
        f"{summary['records']} samples, version {summary['served_version']} served, {summary['seconds']:.0f} s."
    )
    places = {"Summary": results.var / SUMMARY_NAME, "Store": results.store, "Settings": results.var / SETTINGS_NAME}
    if summary["forecast"]:
        places = {"Picture": results.var / PICTURE_NAME, **places}
    for what, place in places.items():
        console.print(f"{what:<9} {place}", markup=False, soft_wrap=True)
    here = f"EYEWALL_VAR={results.var} EYEWALL_SETTINGS={results.var / SETTINGS_NAME}"
    console.print(f"To see its runs in the browser: {here} make up (and make down)", markup=False, soft_wrap=True)


def _cell(score: dict[str, Any] | None) -> str:
    if not score or score["mean_km"] is None:
        return "–"
    ends = score.get("ci95_km")
    return f"{score['mean_km']:.0f}" + (f" ({ends[0]:.0f}–{ends[1]:.0f})" if ends else "")
