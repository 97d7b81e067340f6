"""The catalogue says what the store holds, however often it is asked to."""

# NOTE: injected by pytest, defined in conftests: url, store_url
import json
import subprocess
import sys
from pathlib import Path

import pytest

from eyewall.contracts.errors import ContractError, StorageError
from eyewall.contracts.manifest import Manifest, Receipt, Reference
from eyewall.db import catalogue
from eyewall.db.connect import connected
from eyewall.storage import Store

SHA = "ab" * 32


@pytest.fixture
def store(store_url):
    """Three frames of two streams, a refused file, two artifacts and a receipt."""
    store = Store(store_url)
    for stream, time in (("a", "20260901T000000Z"), ("a", "20260901T060000Z"), ("b", "20260902T000000Z__2015A")):
        store.write_bytes(f"frames/{stream}/{time[:4]}/{time[4:6]}/{time[6:8]}/{time}.nc", b"CDF")
    store.write_json("quarantine/a/x.bz2__0123.reason.json", {"reason": "bzip2: CRC error", "file": "x'; DROP TABLE"})
    for kind, path in (("records", "records/r1"), ("decision", "decisions/d1")):
        with store.staging(path) as folder:
            (folder / "data").write_text(path)
            extra = {"verdict": "yes", "candidate": {"uri": "models/m1", "sha256": SHA}} if kind == "decision" else {}
            store.commit(folder, path, Manifest(kind=kind, code_version="0.1.0", counts={"train": 7}, extra=extra))
    receipt = Receipt(verb="gate", result=Reference(uri="decisions/d1", sha256=SHA), summary={"decision": "yes"})
    store.write_json("receipts/retrain/run1/gate.json", receipt.model_dump(mode="json"))
    return store


def rows(connection, table):
    return connection.execute(f"SELECT * FROM {table} ORDER BY path").fetchall()


def test_everything_in_the_store_is_in_the_catalogue(store, url):
    with connected(url) as connection:
        counts = catalogue.update(store, connection)
        found = {(what, of): n for what, of, n, _, _ in catalogue.overview(connection)}
        decisions = connection.execute(catalogue.statement("decisions")).fetchall()

    assert counts == {"frame": 3, "quarantined_file": 1, "artifact": 2, "receipt": 1, "stray": 0}
    assert found == {
        ("artifact", "decision"): 1, ("artifact", "records"): 1, ("frame", "a"): 2, ("frame", "b"): 1,
        ("quarantined", "a"): 1, ("run", "retrain"): 1,
    }  # fmt: skip
    assert decisions == [("decisions/d1", "yes", "models/m1")]


def test_a_second_update_changes_nothing(store, url):
    tables = ("frame", "quarantined_file", "artifact", "receipt")
    with connected(url) as connection:
        catalogue.update(store, connection)
        first = [rows(connection, table) for table in tables]
        catalogue.update(store, connection)

        assert [rows(connection, table) for table in tables] == first


def test_what_changed_is_brought_up_to_date_and_what_went_is_forgotten(store, url):
    with connected(url) as connection:
        catalogue.update(store, connection)
        store.remove("frames/b")
        receipt = Receipt(verb="gate", summary={"decision": "no"})
        store.write_json("receipts/retrain/run1/gate.json", receipt.model_dump(mode="json"))

        counts = catalogue.update(store, connection)

        assert counts["frame"] == 2
        assert {row[1] for row in rows(connection, "frame")} == {"a"}
        _path, dag, run, task, verb, result, sha, summary = rows(connection, "receipt")[0]
        assert (dag, run, task, verb, result, sha) == ("retrain", "run1", "gate", "gate", None, None)
        assert summary == {"decision": "no"}


def test_hostile_text_is_a_value_and_never_sql(store, url):
    with connected(url) as connection:
        catalogue.update(store, connection)

        assert rows(connection, "quarantined_file")[0][2]["file"] == "x'; DROP TABLE"


def test_a_half_written_artifact_is_not_in_it(store, url):
    store.write_bytes("models/m2/saved_model/weights", b"half")

    with connected(url) as connection:
        assert catalogue.update(store, connection)["artifact"] == 2


@pytest.mark.parametrize(
    ("path", "content"),
    [
        pytest.param("receipts/retrain/run1/train.json", {"verb": 3}, id="a receipt"),
        pytest.param("models/m2/manifest.json", {"kind": "cake"}, id="a manifest"),
    ],
)
def test_what_is_damaged_is_named_and_nothing_is_changed(store, url, path, content):
    with connected(url) as connection:
        catalogue.update(store, connection)
    store.write_json(path, content)

    with pytest.raises(ContractError, match=path.split("/manifest")[0]), connected(url) as connection:
        catalogue.update(store, connection)
    with connected(url) as connection:
        assert len(rows(connection, "frame")) == 3


def test_a_stray_file_among_the_frames_is_named_and_counted_and_the_rest_goes_in(store, url, capsys):
    strays = [
        "frames/20260901T000000Z.nc",  # in no stream
        "frames/a/2026/09/01/cloudy.nc",
        "frames/a/2026/09/02/20260901T000000Z.nc",  # in another day's folder
        "frames/a/2026/13/01/20261301T000000Z.nc",  # in no month
    ]
    for path in strays:
        store.write_bytes(path, b"mine")

    with connected(url) as connection:
        assert catalogue.update(store, connection) == {
            "frame": 3, "quarantined_file": 1, "artifact": 2, "receipt": 1, "stray": 4,
        }  # fmt: skip
        assert not {row[0] for row in rows(connection, "frame")} & set(strays)

    named = [line.split("'")[1] for line in capsys.readouterr().err.splitlines()]
    assert sorted(named) == sorted(strays)


def test_a_store_that_is_away_does_not_empty_the_catalogue(store, url):
    with connected(url) as connection:
        catalogue.update(store, connection)
    Path(store.root).rename(f"{store.root}-away")

    with pytest.raises(StorageError, match="is not there"), connected(url) as connection:
        catalogue.update(store, connection)
    with connected(url) as connection:
        assert len(rows(connection, "frame")) == 3


def test_an_empty_store_is_an_empty_catalogue(store_url, url):
    Path(store_url).mkdir()
    with connected(url) as connection:
        assert set(catalogue.update(Store(store_url), connection).values()) == {0}


def test_the_command_line_updates_and_shows(store, url, store_url):
    def eyewall(*args):
        return subprocess.run(
            [sys.executable, "-m", "eyewall.cli", "catalogue", *args],
            env={"EYEWALL_DATABASE_URL": url, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert json.loads(eyewall("update", f"--store={store_url}", "--json"))["frame"] == 3
    shown = eyewall("show")
    assert "2026-09-01 00:00 – 2026-09-01 06:00 UTC" in shown
