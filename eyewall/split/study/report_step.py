"""The step ``eyewall split-study``: measurements and scores → split-study.md, study.json and the pictures."""

import json
from typing import Any

from eyewall import __version__
from eyewall.contracts.errors import ContractError, InputError
from eyewall.contracts.layout import artifact_dir, digest_of
from eyewall.contracts.manifest import Manifest, Receipt
from eyewall.contracts.split_jobs import SplitStudyJob
from eyewall.progress import progress
from eyewall.split.study.analysis import KINDS, kind_of, losses_of, profile_of
from eyewall.split.study.claims import Claim, all_claims
from eyewall.split.study.markdown import report
from eyewall.split.study.measure_step import KIND as MEASUREMENT
from eyewall.split.study.measure_step import read
from eyewall.split.study.results import Measurement
from eyewall.storage import Artifact, Store, resolve

KIND = "study"
REPORT_NAME, STUDY_NAME = "split-study.md", "study.json"
#: Raise it when the same results would be reported in another way.
STUDY_FORMAT = 4
IMAGE_FOLDER = "images/"


def run(job: SplitStudyJob) -> Receipt:
    """Write the report, unless the store has it. Raises ContractError, InputError."""
    store = Store(job.store)
    measured = [resolve(store, ref, MEASUREMENT) for ref in job.measurement_refs]
    scored = [resolve(store, ref, "score") for ref in job.score_refs]
    inputs = {artifact.path: artifact.manifest.sha256() for artifact in (*measured, *scored)}
    path = artifact_dir("studies", digest_of({"format": STUDY_FORMAT, "inputs": inputs}))
    manifest = store.read_manifest(path) or _write(store, measured, scored, inputs, path)
    study = Artifact(store, path, manifest)
    values = store.read_json(f"{path}/{STUDY_NAME}")
    shown = [claim["sentence"] for claim in values["claims"] if claim["holds"]]
    missed = [claim["sentence"] for claim in values["claims"] if claim["holds"] is False]
    summary = {"study": path, "shown": len(shown), "not_shown": missed, "pictures": values["pictures"]}
    return Receipt(verb=job.verb, result=study.reference, summary=summary)


def _write(
    store: Store, measured: list[Artifact], scored: list[Artifact], inputs: dict[str, str], path: str
) -> Manifest:
    from eyewall.split.study.plots import draw

    parts = _parts(measured)
    figures = [json.loads(store.read_bytes(f"{a.path}/{_json_of(a)}")) for a in scored]
    scores = _scores([figure for figure in figures if "wires" in figure])
    privacy = [f for f in figures if "wires" not in f]
    with progress("split-study") as advance, store.staging(path) as folder:
        advance(0, "drawing")
        (folder / "images").mkdir()
        pictures = draw(parts, scores, folder / "images")
        (folder / REPORT_NAME).write_text(report(parts, scores, privacy, pictures, IMAGE_FOLDER))
        study = study_json(parts, scores, privacy, pictures)
        (folder / STUDY_NAME).write_text(json.dumps(study, sort_keys=True, allow_nan=False) + "\n")
        made = Manifest(kind=KIND, code_version=__version__, inputs=inputs, counts={"pictures": len(pictures)})
        return store.commit(folder, path, made)


def _parts(measured: list[Artifact]) -> dict[str, Measurement]:
    parts: dict[str, Measurement] = {}
    for artifact in measured:
        found = read(artifact)
        if found.part in parts:
            raise InputError(f"{artifact.path!r} is a second measurement of part {found.part!r}: give one of each")
        parts[found.part] = found
    if not parts:
        raise InputError("no measurement: give --measurement")
    return parts


def _scores(figures: list[Any]) -> list[Any]:
    """The scores on test images, by kind and then by channels at the cut. Raises InputError for two of one."""
    found: dict[tuple[int, int, int], Any] = {}
    for score in figures:
        if "taught" not in score:
            raise ContractError(f"the score of {score['network']!r} is of an older version: score the network again")
        key = (KINDS.index(kind_of(score)), score["bottleneck"] or 0, score["channels"])
        if score["scored_on"] != "test":
            raise InputError(
                f"the score of {score['network']!r} is of {score['scored_on']} images: score the test ones"
            )
        if key in found:
            raise InputError(
                f"{score['network']!r} and {found[key]['network']!r} both have {key[2]} filters at the cut"
                f"{f' and a bottleneck of {key[1]}' if key[1] else ''}: give the score of one of them"
            )
        found[key] = score
    return [found[key] for key in sorted(found)]


def _json_of(artifact: Artifact) -> str:
    """The one JSON file of a score. Raises ContractError when there is none."""
    names = [entry.path for entry in artifact.manifest.files if entry.path.endswith(".json")]
    if len(names) != 1:
        raise ContractError(f"{artifact.path!r} is not a score: it holds {names or 'no JSON'}; score the network again")
    return names[0]


def study_json(
    parts: dict[str, Measurement], scores: list[Any], privacy: list[Any], pictures: list[str]
) -> dict[str, Any]:
    """Everything that the report tells, for programs: claims, scores, measurements, and a profile of each part."""
    claims: list[Claim] = all_claims(parts, scores)
    return {
        "claims": [vars(claim) for claim in claims],
        "scores": scores,
        "privacy": privacy,
        "pictures": pictures,
        "measurements": {part: found.model_dump(mode="json") for part, found in parts.items()},
        "profiles": {
            part: profile_of(found, dict(found.losses) or losses_of(found, scores) or None).model_dump(mode="json")
            for part, found in parts.items()
        },
    }
