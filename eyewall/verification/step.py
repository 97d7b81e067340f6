"""``eyewall verify``: candidate, incumbent, CLIPER and persistence on one sample → an evaluation artifact.

The artifact's name is the digest of everything that determines it (the inputs' sums, the job's fields, the format),
so that a verification that has been done already is found before any of its work.
"""

import json
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from eyewall import __version__
from eyewall.contracts.errors import ContractError, InputError
from eyewall.contracts.jobs import VerifyJob
from eyewall.contracts.layout import artifact_dir, digest_of
from eyewall.contracts.manifest import Manifest, Receipt
from eyewall.progress import progress
from eyewall.storage import Artifact, Store, resolve
from eyewall.verification.report import Report
from eyewall.verification.verified_model import VerifiedModel, find_model

#: Raised whenever the same inputs would give another report.
FORMAT = 3
REPORT_NAME, CASES_NAME, PLOT_NAME = "report.json", "cases.csv", "skill.png"

#: Fields that do not change the result: where it goes, and what the inputs are called (their sums count).
_NOT_IN_DIGEST = {
    "store", "receipt", "truth", "fit", "model_ref", "incumbent_ref", "incumbent_name", "records_ref",
}  # fmt: skip


@dataclass(frozen=True)
class Inputs:
    """What the references of a job come to."""

    candidate: VerifiedModel | None
    incumbent: VerifiedModel | None
    records: Artifact | None
    sums: dict[str, str]  #: input → sha256


def run(job: VerifyJob) -> Receipt:
    """Verify, or find that it has been done. Raises what `eyewall.verification.sample` and `verified_model` say."""
    store = Store(job.store)
    inputs = find_inputs(job, store)
    config = job.model_dump(mode="json", exclude=_NOT_IN_DIGEST)
    named = [model and model.uri for model in (inputs.candidate, inputs.incumbent)]  # the report names them
    digest = digest_of({"format": FORMAT, "config": config, "inputs": inputs.sums, "models": named})
    path = artifact_dir("evaluations", digest)
    manifest = store.read_manifest(path)
    if manifest is None:
        manifest = _verify(job, store, inputs, config, path)
    report = read_report(store, path)
    _show(report)
    return _receipt(Artifact(store, path, manifest), report)


def find_inputs(job: VerifyJob, store: Store) -> Inputs:
    """Every input of the job, checked to be there and of its kind, with its sum; nothing is read in yet."""
    candidate = find_model(store, job.model_ref) if job.model_ref else None
    incumbent_ref = job.incumbent_ref or _stable(store, job.incumbent_name)
    incumbent = find_model(store, incumbent_ref) if incumbent_ref else None
    records = resolve(store, job.records_ref, "records") if job.records_ref else None
    if job.frames_only and records is None:
        raise InputError("--frames-only needs --records: they say which cases have a frame")
    from eyewall.besttrack.digest import tracks_sha256

    sums = {"truth": tracks_sha256(job.truth, job.tracks_format)}
    sums["fit"] = tracks_sha256(job.fit, job.tracks_format) if job.fit else sums["truth"]
    for name, model in (("candidate", candidate), ("incumbent", incumbent)):
        if model is not None:
            sums[name] = model.sha256
    if records is not None:
        sums["records"] = records.manifest.sha256()
    if candidate is not None:
        candidate.refuse_leak(job.season_from, job.season_to)
    _check_images(records, candidate, incumbent)
    return Inputs(candidate, incumbent, records, sums)


def _check_images(records: Artifact | None, *models: VerifiedModel | None) -> None:
    if records is not None:
        from eyewall.records.schema import read_schema

        held = read_schema(records.folder()).images
        for model in models:
            if model is not None:
                model.refuse_images(held)


def _stable(store: Store, name: str | None) -> str | None:
    """Store path of the served version labelled stable, if any is."""
    if name is None:
        return None
    from eyewall.serving.repository import stable_version

    return stable_version(store, name)


def _verify(job: VerifyJob, store: Store, inputs: Inputs, config: dict[str, Any], path: str) -> Manifest:
    from eyewall.verification.evaluate import evaluate, write_cases
    from eyewall.verification.model_card import CALIBRATION_PLOT, CARD_MD, card_text

    with progress("verify") as advance:
        evaluation = evaluate(
            job, inputs.candidate, inputs.incumbent, inputs.records, lambda sentence: advance(0, sentence)
        )
        with store.staging(path) as folder:
            (folder / REPORT_NAME).write_bytes(to_bytes(evaluation.report))
            write_cases(folder / CASES_NAME, evaluation)
            if job.plots:
                from eyewall.verification.plot import draw_calibration, draw_skill

                advance(0, "drawing")
                draw_skill(evaluation.report, folder / PLOT_NAME)
                if evaluation.report.coverage:
                    draw_calibration(evaluation.report, folder / CALIBRATION_PLOT)
            if inputs.candidate is not None and inputs.candidate.card is not None:
                text = card_text(evaluation.report, inputs.candidate.card, plots=job.plots)
                (folder / CARD_MD).write_text(text, encoding="utf-8")
            manifest = Manifest(
                kind="evaluation",
                code_version=__version__,
                inputs=inputs.sums,
                config=config,
                counts={"cases": evaluation.report.sample.cases, "storms": evaluation.report.sample.storms},
                extra={
                    name: {"uri": model.uri, "sha256": model.sha256}
                    for name, model in (("candidate", inputs.candidate), ("incumbent", inputs.incumbent))
                    if model is not None
                },
            )
            return store.commit(folder, path, manifest)


def to_bytes(report: Report) -> bytes:
    """The report as canonical JSON: sorted keys, absent parts left out, never NaN."""
    values = report.model_dump(mode="json", exclude_none=True)
    return (json.dumps(values, sort_keys=True, indent=2, allow_nan=False) + "\n").encode()


def read_report(store: Store, path: str) -> Report:
    """The report of the evaluation ``path``. Raises ContractError when it is NaN, empty or of another schema."""
    values = store.read_json(f"{path}/{REPORT_NAME}")
    try:
        return Report.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise ContractError(
            f"{path}/{REPORT_NAME} is not a verification report: {where}: {first['msg']}; verify again"
        ) from None


def _show(report: Report) -> None:
    from rich.console import Console

    from eyewall.verification.table import fits_in_words, notes, report_table

    console = Console(stderr=True)
    console.print(report_table(report))
    console.print(fits_in_words(report), soft_wrap=True, style="dim")
    for note in notes(report):
        console.print(note, style="yellow", soft_wrap=True, markup=False)


def _receipt(artifact: Artifact, report: Report) -> Receipt:
    values = report.model_dump(mode="json", exclude_none=True)
    sample = {name: value for name, value in values["sample"].items() if name != "skew"}  # sentences: in the report
    summary = {"leads": values["leads"], "sample": sample, "evaluation": artifact.path}
    return Receipt(verb="verify", result=artifact.reference, summary=summary)
