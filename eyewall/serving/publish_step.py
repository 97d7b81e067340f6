"""``eyewall publish``: a model that the gate approved becomes the next version, is served, and only then is stable.

Copy beside, check, rename → candidate in models.json → server loads it beside the old one → it answers a real request
rightly → the label moves on the server → the label moves in models.json. Killed anywhere in between, the old version
is what models.json says, and the same command run again goes on from there to the same end.
"""

from pydantic import ValidationError

from eyewall.contracts.errors import ContractError, InputError, NothingNew, ServingError
from eyewall.contracts.gate import GateDecision
from eyewall.contracts.jobs import PublishJob
from eyewall.contracts.layout import version_dir
from eyewall.contracts.manifest import Receipt, Reference
from eyewall.serving import repository
from eyewall.serving.index import Index, read_index, write_index
from eyewall.serving.lock import repository_lock
from eyewall.storage import Artifact, Store, resolve

DECISION_FILE = "decision.json"
_CALL_S = 30.0  #: longest that one call of a server may take, but for loading


def run(job: PublishJob) -> Receipt:
    """Publish the decision's candidate; a model that is stable already stays so, and keeps its version.

    Raises InputError for a decision that does not allow it or a model that is damaged, NothingNew for a model that was
    replaced or rolled back since, ServingError when the server is away or does not take the version (the one that was
    stable stays so).
    """
    store = Store(job.store)
    model = approved_model(store, job)
    with repository_lock(store, f"eyewall publish {job.name}", job.timeout_s):
        number = _settled_version(store, job, model)
        if number is None:
            number = _publish(store, job, model)
        repository.retire(store, job.name)
        return _receipt(store, job, number)


def approved_model(store: Store, job: PublishJob) -> Artifact:
    """The candidate of the decision. Raises InputError when the decision is not a yes, ContractError when unusable."""
    artifact = resolve(store, job.decision_ref, "decision")
    try:
        decision = GateDecision.model_validate(store.read_json(f"{artifact.path}/{DECISION_FILE}"))
    except ValidationError as error:
        raise ContractError(f"{artifact.path}/{DECISION_FILE} is not a decision: {error.errors()[0]['msg']}") from None
    if decision.verdict == "no":
        raise InputError(f"decision {artifact.path!r} says no ({'; '.join(decision.reasons)}): publish nothing from it")
    if decision.verdict == "ask" and not (job.approved_by or "").strip():
        raise InputError(f"decision {artifact.path!r} is a close call: say with --approved-by who takes it")
    model = resolve(store, decision.candidate, "model")
    if model.reference.sha256 != decision.candidate_sha256:
        raise ContractError(f"model {model.path!r} is not the one that {artifact.path!r} judged: verify it again")
    return model


def _evaluation(store: Store, job: PublishJob) -> Artifact | None:
    """The evaluation that the decision rests on, if it is still there; a model is published without it, too."""
    decision = resolve(store, job.decision_ref, "decision")
    path = GateDecision.model_validate(store.read_json(f"{decision.path}/{DECISION_FILE}")).evaluation
    manifest = store.read_manifest(path)
    return None if manifest is None else Artifact(store, path, manifest)


def _settled_version(store: Store, job: PublishJob, model: Artifact) -> int | None:
    """The model's version if it is stable and served; None when there is something to do. Raises NothingNew."""
    index = read_index(store)
    served = index.model(job.name)
    number = served.version_of(model.reference.sha256)
    if number is None or served.versions[number].state in ("candidate", "failed"):
        return None
    if served.stable != number:
        state = served.versions[number].state
        what = "was rolled back" if state == "rolled_back" else f"was replaced by version {served.stable}"
        raise NothingNew(
            f"version {number} of model {job.name!r} {what} since: to go back to it use eyewall models rollback --to"
        )
    if job.server is None:
        return number
    return number if _answers(job.server, store, job.name, number) else None


def _answers(server: str, store: Store, name: str, number: int) -> bool:
    from eyewall.serving.client import Client
    from eyewall.serving.promote import check_answer

    with Client(server, _CALL_S) as client:
        status = client.status(name).get(number)
        if status is None or not status.available:
            return False
        try:
            return check_answer(client, store, name, number, label="stable") == number
        except ServingError:
            return False


def _publish(store: Store, job: PublishJob, model: Artifact) -> int:
    if job.server is not None:
        check_reachable(job.server, job.timeout_s)  # a server that is away says nothing against the model
    number = repository.register(store, job.name, model, job.approved_by, _evaluation(store, job))
    before = read_index(store)
    after = before.with_model(job.name, repository.relabelled(before.model(job.name), number))
    if job.server is not None:
        make_stable(store, job.server, job.server_base, job.timeout_s, job.name, number, before, after)
    write_index(store, after)
    return number


def check_reachable(server: str, timeout_s: float) -> None:
    """Raises ServingError when no model server answers there within ``timeout_s``, or within half a minute."""
    from eyewall.serving.client import Client

    with Client(server, min(timeout_s, _CALL_S)) as client:
        client.status("any")


def make_stable(
    store: Store, server: str, base: str | None, timeout_s: float, name: str, number: int, before: Index, after: Index
) -> None:
    """Have the server take ``number``; a version that it does not take, and that was never good, is set aside.

    Raises ServingError.
    """
    from eyewall.serving.client import Client
    from eyewall.serving.promote import Change, promote

    with Client(server, min(timeout_s, _CALL_S)) as client:
        try:
            promote(client, store, Change(name, number, before, after), base or store.uri("serving"), timeout_s)
        except ServingError as error:
            if before.model(name).versions[number].state == "candidate":
                repository.set_aside(store, name, number, str(error))
            raise


def _receipt(store: Store, job: PublishJob, number: int) -> Receipt:
    path = version_dir(job.name, number)
    manifest = store.read_manifest(path)
    if manifest is None:
        raise ContractError(f"version folder {path!r} is gone: remove its entry from models.json or restore it")
    served = read_index(store).model(job.name)
    summary = {"name": job.name, "version": number, "labels": served.labels, "served": job.server is not None}
    return Receipt(verb=job.verb, result=Reference(uri=path, sha256=manifest.sha256()), summary=summary)
