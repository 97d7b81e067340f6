"""``eyewall split study|plan|profile``: the whole study on this machine, a plan for a link, a profile of a set-up."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from eyewall.contracts.errors import ContractError, InputError
from eyewall.contracts.jobs import JOBS, Job
from eyewall.contracts.split_study import NETWORKS, PRIVACY_CUTS, TAUGHT, TEACHER

_AsJson = Annotated[bool, typer.Option("--json", help="print one line of JSON")]
_StoreUrl = Annotated[str, typer.Option("--store", help="artifact store; default: the settings' own")]
_RECEIPTS = "receipts/split_study/by_hand"


def add_to(app: typer.Typer) -> None:
    """Make the commands of this module commands of ``app``."""
    for name, command in (("study", study), ("plan", plan), ("profile", profile)):
        app.command(name)(command)


def study(
    images: Annotated[str, typer.Option(help="image pack (.npz) of CIFAR-10")],
    model: Annotated[str, typer.Option(help="image or fusion model of the store; none: no third part")] = "",
    records: Annotated[str, typer.Option(help="the records that it is scored on")] = "",
    epochs: Annotated[str, typer.Option(help="epochs of every training; default: each network's own")] = "",
    channels: Annotated[list[int] | None, typer.Option(help="only networks with so many filters; 32 is always")] = None,
    train: Annotated[bool, typer.Option(help="train and score networks; without it, only those that are there")] = True,
    bandwidths: Annotated[list[str] | None, typer.Option("--bandwidths-mbps", help="of the link")] = None,
    rtts: Annotated[list[str] | None, typer.Option("--rtts-ms", help="round trips of the link")] = None,
    client_cpu: Annotated[str, typer.Option(help="the client's share of one core")] = "",
    requests: Annotated[str, typer.Option(help="requests of each way on each link")] = "",
    link: Annotated[str, typer.Option(help="auto, namespaces or proxy")] = "auto",
    out: Annotated[
        Path | None, typer.Option(help="folder for the report, its pictures in images/ and figures in data/split/")
    ] = None,
    store: _StoreUrl = "",
    as_json: _AsJson = False,
) -> None:
    """Train, score, measure and report: every step as a job of its own, found again when it is there already."""
    from eyewall.cli import run_job
    from eyewall.contracts.settings import Settings
    from eyewall.storage import Store

    url = store or Settings.load().store
    opened = Store(url)
    chosen: dict[str, Any] = {"channels": tuple(channels or ()), "epochs": epochs, "train": train}
    scores = [f"{_RECEIPTS}/{name}.json" for name in _scores(opened, run_job, url, images, chosen)]
    given: dict[str, Any] = {"client_cpu": client_cpu, "requests": requests, "link": link}
    given |= {"bandwidths_mbps": tuple(bandwidths or ()), "rtts_ms": tuple(rtts or ())}
    measurements = []
    for part, fields in _parts(images, model, records, chosen["channels"]):
        run_job(_job("measure-split", url, f"measure_{part}", **fields, **given))
        measurements.append(f"{_RECEIPTS}/measure_{part}.json")
    report = run_job(_job("split-study", url, "report", measurement_refs=measurements, score_refs=scores))
    if out is not None:
        _copy(opened.fetch(str(report.summary["study"])), out)
    _print(report.summary, as_json)


def _job(verb: str, store: str, name: str, **fields: Any) -> Job:
    values = {field: value for field, value in fields.items() if value not in ("", None, ())}
    return JOBS[verb].parse({"store": store, "receipt": f"{_RECEIPTS}/{name}.json", **values})


def _scores(store: Any, run_job: Callable[[Job], Any], url: str, images: str, chosen: dict[str, Any]) -> Iterator[str]:
    """Train and score what is asked for; the names of the receipts of scores, those of before among them."""
    for name, fields in NETWORKS.items():
        wanted = not chosen["channels"] or name == TEACHER or fields.get("channels") in chosen["channels"]
        receipt = f"{_RECEIPTS}/score_{name}.json"
        if chosen["train"] and wanted:
            train = fields | ({"epochs": chosen["epochs"]} if chosen["epochs"] else {})
            if name in TAUGHT:
                train["teacher_ref"] = f"{_RECEIPTS}/train_{TEACHER}.json"
            if name not in TAUGHT or store.exists(f"{_RECEIPTS}/train_{TEACHER}.json"):
                run_job(_job("train-network", url, f"train_{name}", images=images, **train))
                network = f"{_RECEIPTS}/train_{name}.json"
                run_job(_job("score-network", url, f"score_{name}", images=images, network_ref=network))
        if store.exists(receipt):
            yield f"score_{name}"
    if chosen["train"]:
        teacher = f"{_RECEIPTS}/train_{TEACHER}.json"
        run_job(_job("measure-privacy", url, "privacy", images=images, network_ref=teacher, cuts=PRIVACY_CUTS))
    if store.exists(f"{_RECEIPTS}/privacy.json"):
        yield "privacy"


def _parts(images: str, model: str, records: str, channels: tuple[int, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Part of the study → the fields of its measurement."""
    if bool(model) != bool(records):
        raise InputError("the third part needs both --model and --records: give the other one too")
    yield (
        "cifar10",
        {"part": "cifar10", "images": images, "channels": tuple(sorted({*channels, 32})) if channels else ()},
    )
    yield "caffenet", {"part": "caffenet", "batch": 1}
    if model:
        yield "typhoon", {"part": "typhoon", "batch": 1, "model_ref": model, "records_ref": records}


def _copy(study_folder: Path, out: Path) -> None:
    """The report where documents are: OUT/split-study.md, OUT/images/split-*.png, OUT/data/split/study.json."""
    from eyewall.split.study.report_step import REPORT_NAME, STUDY_NAME

    (out / "images").mkdir(parents=True, exist_ok=True)
    (out / "data" / "split").mkdir(parents=True, exist_ok=True)
    for old in (out / "images").glob("split-*.png"):
        old.unlink()
    for picture in sorted((study_folder / "images").iterdir()):
        shutil.copyfile(picture, out / "images" / picture.name)
    shutil.copyfile(study_folder / REPORT_NAME, out / REPORT_NAME)
    shutil.copyfile(study_folder / STUDY_NAME, out / "data" / "split" / STUDY_NAME)


def plan(
    profile: Annotated[Path, typer.Argument(help="profile of eyewall split profile, or a study.json")],
    bandwidth_mbps: Annotated[float, typer.Option(help="of the link, each way")],
    rtt_ms: Annotated[float, typer.Option(help="round trip of the link")],
    max_loss: Annotated[float, typer.Option(help="accuracy that may be lost, in the profile's unit")] = float("inf"),
    part: Annotated[str, typer.Option(help="of a study.json: cifar10, caffenet or typhoon")] = "cifar10",
    as_json: _AsJson = False,
) -> None:
    """The fastest way on a link, and the bandwidths at which another becomes the fastest."""
    from eyewall.split.planner import plan as planned
    from eyewall.split.study.link import bandwidth_text

    found = planned(_profile_in(profile, part), bandwidth_mbps * 1e6, rtt_ms / 1000, max_loss)
    if as_json:
        sys.stdout.write(found.model_dump_json() + "\n")
        return
    option = found.option
    _print(
        {
            "way": option.name,
            "expected_ms": round(found.expected_s * 1000, 3),
            "pipelined_ms": round(found.interval_s * 1000, 3),
            "bytes_up": option.bytes_up,
            "loss": option.loss,
        },
        False,
    )
    for change in found.break_evens:
        sys.stdout.write(f"at {bandwidth_text(change.bandwidth_bps):<12} {change.below} below, {change.above} above\n")


def _profile_in(path: Path, part: str) -> Any:
    """The profile in a file. Raises InputError or ContractError."""
    from pydantic import ValidationError

    from eyewall.contracts.split import Profile

    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(
            f"profile {str(path)!r} cannot be read: {error}; make one with eyewall split profile"
        ) from None
    if isinstance(values, dict) and "profiles" in values:
        if part not in values["profiles"]:
            raise InputError(f"{str(path)!r} has no part {part!r}: it has {', '.join(values['profiles'])}")
        values = values["profiles"][part]
    try:
        return Profile.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ContractError(f"{str(path)!r} is not a profile: {where}: {first['msg']}; measure it again") from None


def profile(
    frames: Annotated[Path, typer.Option(help="frames: an .npz with one array [n, …] for each input")],
    server: Annotated[str, typer.Option(help="host:port of the model server's gRPC")] = "127.0.0.1:8500",
    head: Annotated[
        list[str] | None, typer.Option(help="FOLDER=MODEL: a head, and the served model that is its tail")
    ] = None,
    cloud: Annotated[str, typer.Option(help="served model that takes raw frames")] = "",
    client: Annotated[Path | None, typer.Option(help="folder of the whole model, to answer here")] = None,
    loss: Annotated[list[str] | None, typer.Option(help="WAY=LOSS: what a way loses, such as pool2/8/int8=0.4")] = None,
    loss_unit: Annotated[str, typer.Option(help="of these losses")] = "",
    rtt_ms: Annotated[float, typer.Option(help="round trip to the server, which is taken off")] = 0.0,
    rounds: Annotated[int, typer.Option(min=1, help="turns of each way with all frames")] = 5,
    out: Annotated[Path | None, typer.Option(help="file for the profile; default: stdout")] = None,
) -> None:
    """Measure the ways on this device against a server that is near: what `eyewall edge run --profile` plans by."""
    from eyewall.serving.access import ClientAccess
    from eyewall.split.edge.link import Link
    from eyewall.split.edge.ways import ClientWay, CloudWay, SplitWay, Way
    from eyewall.split.profiler import measure, read_frames

    ways: list[Way] = [SplitWay.open(Path(folder), name) for folder, name in map(_pair, head or [])]
    ways += [CloudWay(cloud)] if cloud else []
    ways += [ClientWay.open(client)] if client else []
    if not ways:
        raise InputError("no way to measure: give --head, --cloud or --client")
    losses = {way: _number(text) for way, text in map(_pair, loss or [])}
    link = Link(server, ClientAccess.of_environment(), lambda: None)
    try:
        found = measure(
            ways, link, read_frames(frames), model=cloud or "split", rtt_s=rtt_ms / 1000, losses=losses,
            loss_unit=loss_unit, rounds=rounds,
        )  # fmt: skip
    finally:
        link.close()
    text = found.model_dump_json(indent=2) + "\n"
    if out is None:
        sys.stdout.write(text)
        return
    beside = out.with_name(f".{out.name}.tmp")
    beside.write_text(text)
    beside.replace(out)


def _pair(text: str) -> tuple[str, str]:
    left, _, right = text.rpartition("=")
    if not left or not right:
        raise InputError(f"{text!r} is not NAME=VALUE")
    return left, right


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"loss {text!r} is not a number") from None


def _print(summary: dict[str, Any], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(summary) + "\n")
        return
    for key, value in summary.items():
        sys.stdout.write(f"{key:<14} {value if isinstance(value, str) else json.dumps(value)}\n")
