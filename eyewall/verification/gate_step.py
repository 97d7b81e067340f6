"""``eyewall gate``: an evaluation → a written decision, for yes, for no and for "ask a person".

The decision is an artifact, and its receipt is written, whatever the answer. A no then ends the step with 99 (skip):
it is no failure, there is only nothing to publish.
"""

import json
import sys

from pydantic import ValidationError

from eyewall import __version__
from eyewall.contracts.errors import ContractError, NothingNew
from eyewall.contracts.gate import GateDecision, GatePolicy
from eyewall.contracts.jobs import GateJob
from eyewall.contracts.layout import artifact_dir, digest_of
from eyewall.contracts.manifest import Manifest, Receipt
from eyewall.storage import Artifact, Store, resolve
from eyewall.verification.gate import judge
from eyewall.verification.step import read_report

#: Raised whenever the same report and policy would give another decision.
FORMAT = 1
DECISION_NAME = "decision.json"


def run(job: GateJob) -> Receipt:
    """Judge and write the decision, or find that it is there.

    Raises NothingNew with the reasons after a no; ContractError for a report that is not one; InputError for a policy
    that cannot be applied to it.
    """
    store = Store(job.store)
    evaluation = resolve(store, job.evaluation_ref, "evaluation")
    policy = policy_of(job)
    inputs = {"evaluation": evaluation.reference.model_dump(), "policy": policy.model_dump(mode="json")}
    path = artifact_dir("decisions", digest_of({"format": FORMAT} | inputs))
    manifest = store.read_manifest(path) or _judge(store, evaluation, policy, path)
    decision = read_decision(store, path)
    receipt = Receipt(
        verb="gate",
        result=Artifact(store, path, manifest).reference,
        summary={
            "decision": decision.verdict,
            "reasons": list(decision.reasons),
            "candidate": decision.candidate,
            "incumbent": decision.incumbent,
            "path": path,
        },
    )
    if decision.verdict == "no":
        # The command line writes receipts of steps that return; this one raises.
        if job.receipt is not None:
            store.write_json(job.receipt, receipt.model_dump(mode="json"))
        raise NothingNew(f"the gate says no to {decision.candidate}: {'; '.join(decision.reasons)} ({path})")
    for reason in decision.reasons:
        sys.stderr.write(f"gate: {reason}\n")
    return receipt


def policy_of(job: GateJob) -> GatePolicy:
    """The policy that the job's fields spell out."""
    return GatePolicy(**{name: getattr(job, name) for name in GatePolicy.model_fields})


def _judge(store: Store, evaluation: Artifact, policy: GatePolicy, path: str) -> Manifest:
    decision = judge(read_report(store, evaluation.path), policy, evaluation.path)
    with store.staging(path) as folder:
        text = json.dumps(decision.model_dump(mode="json"), sort_keys=True, indent=2, ensure_ascii=False)
        (folder / DECISION_NAME).write_text(text + "\n", encoding="utf-8")
        manifest = Manifest(
            kind="decision",
            code_version=__version__,
            inputs={evaluation.path: evaluation.manifest.sha256()},
            config=policy.model_dump(mode="json"),
            extra={
                "verdict": decision.verdict,
                "candidate": {"uri": decision.candidate, "sha256": decision.candidate_sha256},
            },
        )
        return store.commit(folder, path, manifest)


def read_decision(store: Store, path: str) -> GateDecision:
    """The decision at ``path``. Raises ContractError when it is damaged or of another schema."""
    try:
        return GateDecision.model_validate(store.read_json(f"{path}/{DECISION_NAME}"))
    except ValidationError as error:
        raise ContractError(f"{path}/{DECISION_NAME} is not a decision: {error.errors()[0]['msg']}") from None
