"""Parts of the demo that need no platform: its settings, its season, what it makes of the results."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from eyewall.contracts.errors import ContractError, InputError
from eyewall.contracts.settings import Settings
from eyewall.platform.demo import FULL, SMALL, _clear
from eyewall.platform.demo_results import Results, _lead, show
from eyewall.platform.demo_season import Season, read_season, settings_text
from eyewall.platform.places import Places
from eyewall.platform.ports import Ports

SEASON = {
    "imaged": [
        {"sid": "2019A", "slots": ["2019-08-01T00:00:00Z"]},
        {"sid": "2020B", "slots": [f"2020-08-{d:02d}T{h:02d}:00:00Z" for d in (3, 4, 5) for h in (0, 6, 12, 18)]},
    ],
    "periods": [
        {"slot_from": "2019-08-01T00:00:00Z", "slot_to": "2019-08-02T00:00:00Z"},
        {"slot_from": "2020-08-03T00:00:00Z", "slot_to": "2020-08-06T00:00:00Z"},
    ],
    "days": ["2019-08-01", "2020-08-03", "2020-08-04", "2020-08-05"],
}


@pytest.mark.parametrize("size", [FULL, SMALL], ids=["full", "small"])
def test_the_demos_settings_are_valid_and_make_every_job(tmp_path, size):
    file = tmp_path / "eyewall.toml"
    file.write_text(settings_text(tmp_path, size, Ports(18080, 18500, 18501)))

    settings = Settings.load({"EYEWALL_SETTINGS": str(file)})

    job = settings.job
    assert job("ingest", "demo", slot_from="2020-08-03", slot_to="2020-08-04").stream == "demo"
    assert job("records", "demo").test_to == size.last_season
    assert job("train", "demo", records_ref="r", run="x").workers == 2
    assert job("verify", "demo").season_from == size.last_season
    assert job("publish", "demo", decision_ref="d").server == "127.0.0.1:18500"
    assert job("forecast", "demo").truth
    assert Ports.of(settings) == (18080, 18500, 18501)
    assert settings.ingest_cron == "0 0 * * *"


def test_periods_become_whole_days_and_the_forecast_is_36_hours_after_the_first_slot(tmp_path):
    (tmp_path / "season.json").write_text(json.dumps(SEASON))

    season = read_season(tmp_path)

    # slot_to is exclusive: 06 August 00 UTC ends on the 5th.
    assert season.periods == (
        ("2019-08-01T00:00:00Z", "2019-08-01T00:00:00Z"),
        ("2020-08-03T00:00:00Z", "2020-08-05T00:00:00Z"),
    )
    assert (season.storm, season.base_time) == ("2020B", "2020-08-04T12:00:00Z")


def test_a_season_without_images_is_no_season_for_the_demo(tmp_path):
    (tmp_path / "season.json").write_text(json.dumps({**SEASON, "imaged": []}))

    with pytest.raises(ContractError, match="not what the demo expects"):
        read_season(tmp_path)


def test_a_folder_that_is_no_demos_is_never_emptied(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")

    with pytest.raises(InputError, match="no demo's"):
        _clear(Places(tmp_path, tmp_path))

    assert (tmp_path / "thesis.tex").exists()


LEADS = {
    "24": {
        "n": 31,
        "storms": 4,
        "model": {"mean_km": 180.4, "ci95_km": [150.2, 211.9]},
        "cliper": {"mean_km": 185.1, "ci95_km": None},
        "persistence_6h": {"mean_km": 217.0, "ci95_km": [200.0, 240.0]},
    },
    "72": {"n": 0, "storms": 0},
}


def results(**summary) -> Results:
    leads = {lead: _lead(scores) for lead, scores in LEADS.items()}
    all_of_it = {
        "slots_ok": 108, "slots_quarantined": 4, "records": 900, "leads": leads, "decision": "yes", "served_version": 1,
        "forecast": [[24, 20.1, 130.5]], **summary,
    }  # fmt: skip
    season = Season((), (), "2020B", "2020-08-04T12:00:00Z")
    return Results(all_of_it, {"leads": LEADS}, ("24 h: 180 km [model] <= 185 km",), season, Path("var/demo"), "store")


def test_the_summary_has_the_four_numbers_of_each_lead():
    assert _lead(LEADS["24"]) == {"model_km": 180.4, "cliper_km": 185.1, "persistence_km": 217.0, "n": 31}
    assert _lead(LEADS["72"]) == {"model_km": None, "cliper_km": None, "persistence_km": None, "n": 0}


def test_finishing_writes_the_summary_with_exactly_these_keys(tmp_path):
    import dataclasses

    done = dataclasses.replace(results(), var=tmp_path).finished(123.456)

    written = json.loads((tmp_path / "summary.json").read_text())
    assert written == done.summary
    assert list(written) == [
        "seconds", "slots_ok", "slots_quarantined", "records", "leads", "decision", "served_version", "forecast",
    ]  # fmt: skip
    assert written["seconds"] == 123.5


def test_people_see_table_decision_reasons_forecast_and_where_to_look(capsys):
    show(results(seconds=61.0), Console(width=150, force_terminal=False))

    out = capsys.readouterr().out
    assert "180 (150–212)" in out
    assert "24 h: 180 km [model] <= 185 km" in out  # square brackets are not markup
    assert "+24 h  20.1 N  130.5 E" in out
    assert "version 1 served, 61 s" in out
    assert "var/demo/forecast.png" in out


def test_a_refused_model_is_shown_without_a_forecast(capsys):
    show(results(seconds=61.0, decision="no", served_version=None, forecast=[]), Console(width=150))

    out = capsys.readouterr().out
    assert "Gate: no" in out
    assert "Forecast for" not in out
