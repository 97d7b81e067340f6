"""``eyewall gate``: the decision and its receipt are written for yes, no and ask; a no ends with 99."""

import contextlib
import json
import subprocess
import sys

import pytest

from eyewall.cli import run_job
from eyewall.contracts.errors import ContractError, NothingNew
from eyewall.contracts.jobs import GateJob
from eyewall.contracts.manifest import Receipt
from eyewall.storage import resolve

RECEIPT = "receipts/retrain/one/gate.json"


@pytest.fixture
def job(store, add_evaluation, report_values, make_lead):
    """A function that makes the gate's job for one lead with the given means, its evaluation being in the store."""

    def make(model: float, incumbent: float | None = None, **fields) -> GateJob:
        served = {} if incumbent is None else {"incumbent": incumbent}
        values = report_values({"24": make_lead(100, 9, model=model, cliper=200.0, **served)})
        evaluation = add_evaluation(values)
        return GateJob(store=store.url, evaluation_ref=evaluation, leads_h=(24,), receipt=RECEIPT, **fields)

    return make


def files_of(store):
    """Every file of the store with its content."""
    paths = [path for top in ("evaluations", "decisions", "receipts") for path in store.list_files(top)]
    return {path: store.read_bytes(path) for path in paths}


def test_a_yes_is_written_and_returned(store, job):
    receipt = run_job(job(150.0))

    decision = resolve(store, RECEIPT, "decision")
    written = store.read_json(f"{decision.path}/decision.json")
    assert receipt.summary["decision"] == written["verdict"] == "yes"
    assert written["candidate"] == "models/aaaaaaaaaaaaaaaa"
    assert written["reasons"] == receipt.summary["reasons"]
    assert decision.manifest.extra["candidate"] == {"uri": "models/aaaaaaaaaaaaaaaa", "sha256": "1" * 64}


def test_a_no_is_written_with_its_receipt_before_the_step_is_skipped(store, job):
    with pytest.raises(NothingNew, match=r"24 h: 250.0 km against CLIPER 200.0 km \(\+25.0 %"):
        run_job(job(250.0))

    decision = resolve(store, RECEIPT, "decision")
    assert store.read_json(f"{decision.path}/decision.json")["verdict"] == "no"
    assert Receipt.model_validate(store.read_json(RECEIPT)).summary["decision"] == "no"


def test_a_close_call_is_written_and_left_to_a_person(store, job):
    receipt = run_job(job(149.0, incumbent=150.0, close_call_pct=1.0))

    assert receipt.summary["decision"] == "ask"
    assert store.read_json(f"{receipt.result.uri}/decision.json")["verdict"] == "ask"


@pytest.mark.parametrize("model_km", [pytest.param(150.0, id="yes"), pytest.param(250.0, id="no")])
def test_the_same_gate_twice_changes_nothing(store, job, model_km):
    contents = []
    for _ in range(2):
        with contextlib.suppress(NothingNew):
            run_job(job(model_km))
        contents.append(files_of(store))

    assert contents[0] == contents[1]
    assert len([path for path in contents[0] if path.endswith("decision.json")]) == 1


def test_another_policy_is_another_decision(store, job):
    with pytest.raises(NothingNew):
        run_job(job(203.0, max_worse_than_cliper_pct=1.0))
    run_job(job(203.0, max_worse_than_cliper_pct=2.0))

    assert len([path for path in store.list_files("decisions") if path.endswith("decision.json")]) == 2


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{}", id="empty"),
        pytest.param("[]", id="a_list"),
        pytest.param('{"leads": {"24": {"n": 100, "sto', id="truncated"),
        pytest.param('{"schema_version": 1, "leads": {"24": {"n": 9, "storms": 3}}}', id="other_schema"),
    ],
)
def test_what_is_not_a_report_gets_no_decision_at_all(store, add_evaluation, text):
    job = GateJob(store=store.url, evaluation_ref=add_evaluation(text), receipt=RECEIPT)

    with pytest.raises(ContractError, match="report"):
        run_job(job)

    assert store.list_files("decisions") == []
    assert not store.exists(RECEIPT)


def test_a_report_with_nan_gets_no_decision_at_all(store, add_evaluation, report_values, make_lead):
    values = report_values({"24": make_lead(100, 9, model=float("nan"), cliper=200.0)})

    with pytest.raises(ContractError, match=r"leads\.24\.model\.mean_km"):
        run_job(GateJob(store=store.url, evaluation_ref=add_evaluation(values), leads_h=(24,)))

    assert store.list_files("decisions") == []


def test_on_the_command_line_a_no_is_99_with_its_reasons_on_stderr(job):
    done = subprocess.run(
        [sys.executable, "-m", "eyewall.cli", *job(250.0).to_args(), "--json"], capture_output=True, text=True
    )

    assert done.returncode == 99, done.stderr
    assert "24 h: 250.0 km against CLIPER 200.0 km" in done.stderr
    assert "Traceback" not in done.stderr


def test_on_the_command_line_a_yes_is_one_line_of_json(job):
    done = subprocess.run(
        [sys.executable, "-m", "eyewall.cli", *job(150.0).to_args(), "--json"], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    assert json.loads(done.stdout)["decision"] == "yes"
