"""Head and tail as an artifact of the store, and the tail as a version of a served model.

    models/<digest>/saved_model/   the tail: to publish, verify and serve, this is a model as any other
    models/<digest>/head/, tflite/ for the sensor's side
    models/<digest>/eyewall_wire.json

Whether a split is good enough is for the study and the planner to say, not for the gate of forecasts: publishing one
needs a person's word, as a close call of the gate does.
"""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from eyewall import __version__
from eyewall.contracts.errors import ContractError
from eyewall.contracts.gate import GateDecision, GatePolicy
from eyewall.contracts.layout import artifact_dir, digest_of
from eyewall.contracts.manifest import Manifest, Receipt
from eyewall.contracts.split import CONTRACT_NAME, Wire, WireContract
from eyewall.storage import Artifact, Store, find, resolve

_DECISION = "decision.json"  #: the name that `eyewall.serving.publish_step` reads

Calibration = dict[str, npt.NDArray[Any]]


def make(
    store: Store,
    ref: str,
    cut: str,
    *,
    wire: Wire = "float32",
    channels: int | None = None,
    calibration: Calibration | None = None,
    tflite: Literal["", "float32", "float16", "int8"] = "",
) -> Artifact:
    """Cut the model ``ref`` (see `load_model`) and keep both parts in the store; the same split is made once only.

    ``tflite``: how the weights of a TFLite head are kept; empty: none is made. Raises InputError, StorageError.
    """
    from eyewall.split.load import load_model
    from eyewall.split.partition import split

    model, sha256 = load_model(store, ref)
    parts = split(model, cut, channels=channels, wire=wire, calibration=_usable(calibration))
    config = {"contract": parts.contract.model, "tflite": tflite}
    path = artifact_dir("models", digest_of(config))
    if (present := find(store, path)) is not None:
        return present
    manifest = Manifest(
        kind="model",
        code_version=__version__,
        inputs={"model": sha256} if sha256 else {},
        config=config | {"cut": cut, "wire": wire, "channels": channels},
        counts={"bytes_per_frame": parts.contract.bytes_per_frame},
        extra={"split": True},
    )
    with store.staging(path) as folder:
        parts.write(folder)
        (folder / "tail").rename(folder / "saved_model")
        if tflite:
            from eyewall.split.tflite import write_head

            write_head(parts.head, folder / "tflite", tflite)
        (folder / CONTRACT_NAME).write_bytes(parts.contract.to_bytes())
        return Artifact(store, path, store.commit(folder, path, manifest))


def _usable(calibration: Calibration | None) -> Any:
    """An archive with one array of any name is frames for the one input that the head has."""
    if calibration is not None and len(calibration) == 1:
        return np.asarray(next(iter(calibration.values())))
    return calibration


def contract_of(artifact: Artifact) -> WireContract:
    """The contract of a split in the store. Raises ContractError when the artifact is no split."""
    path = artifact.folder() / CONTRACT_NAME
    if artifact.manifest.kind != "model" or not path.is_file():
        raise ContractError(f"{artifact.path!r} is no split model: make one with eyewall split make")
    return WireContract.parse(path.read_bytes(), f"{artifact.path}/{CONTRACT_NAME}")


def publish(
    store: Store, ref: str, name: str, approved_by: str, *, server: str | None, timeout_s: float = 120.0
) -> Receipt:
    """Publish a split's tail as the next version of the served model ``name``: `eyewall publish` with a decision.

    ``approved_by`` is kept in the decision and in models.json. Raises as `eyewall.serving.publish_step.run`.
    """
    from eyewall.contracts.jobs import PublishJob
    from eyewall.serving import publish_step

    decision = _decision(store, resolve(store, ref, "model"))
    job = PublishJob(
        store=store.url, decision_ref=decision, name=name, server=server, timeout_s=timeout_s, approved_by=approved_by
    )
    return publish_step.run(job)


def _decision(store: Store, artifact: Artifact) -> str:
    contract = contract_of(artifact)
    path = artifact_dir("decisions", digest_of({"split": artifact.reference.sha256}))
    decision = GateDecision(
        verdict="ask",
        reasons=(f"the tail of a split at {contract.cut!r} ({contract.wire}): its worth is the split study's to say",),
        candidate=artifact.path,
        candidate_sha256=artifact.reference.sha256,
        evaluation=artifact.path,
        policy=GatePolicy(),
    )
    with store.staging(path) as folder:
        (folder / _DECISION).write_text(decision.model_dump_json(indent=2) + "\n")
        store.commit(
            folder,
            path,
            Manifest(kind="decision", code_version=__version__, inputs={artifact.path: artifact.reference.sha256}),
        )
    return path
