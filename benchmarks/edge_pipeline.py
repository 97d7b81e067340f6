"""The pipelined edge against one that computes, sends and waits in turn, and a link that is away for a minute.

    python benchmarks/edge_pipeline.py [--frames 120] [--rounds 5] [--cut-s 60] [--rtt-ms 20] [--out FILE]

Edge and server are processes of their own at the two ends of a link of `eyewall.split.study.link`: network namespaces
shaped by tc, or a proxy where those are not allowed. The link's bandwidth is chosen so that sending a frame's features
takes as long as its head (measured first, on this machine, by the edge itself), which is where overlap can give most:
a factor of 2. Both kinds of edge take turns within one run; a figure is the median over the rounds, with the lowest
and the highest; frames a second are counted from the first frame taken in to the last answer on disk.

Then the link is cut (the server's end goes down; nobody is told) for ``--cut-s`` while frames keep coming, and mended.
Counted are answers, frames without one, and frames with more than one.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from eyewall.contracts.gate import GateDecision, GatePolicy
from eyewall.contracts.jobs import PublishJob
from eyewall.contracts.manifest import Manifest
from eyewall.serving import publish_step
from eyewall.split.edge.answers import Answers
from eyewall.split.study.link import LinkSpec, open_link
from eyewall.storage import Store

SHAPE = (96, 96, 3)
PORT = 8510


def make_split(folder: Path) -> int:
    """Cut a network of two convolutions and a dense layer, publish its tail; bytes of a frame's features."""
    import shutil

    import tf_keras

    from eyewall.split.partition import split

    tf_keras.utils.set_random_seed(5)
    image = tf_keras.Input(SHAPE, name="image")
    x = tf_keras.layers.Conv2D(32, 5, padding="same", activation="relu")(image)
    x = tf_keras.layers.Conv2D(16, 5, padding="same", activation="relu")(x)
    x = tf_keras.layers.MaxPooling2D(2, name="pool")(x)
    x = tf_keras.layers.Flatten()(x)
    model = tf_keras.Model(image, {"score": tf_keras.layers.Dense(10)(x)})
    frames = np.random.default_rng(1).normal(size=(16, *SHAPE)).astype(np.float32)
    parts = split(model, "pool", wire="int8", calibration=frames)
    parts.export(folder / "split", tflite=True)

    store = Store(str(folder / "store"))
    with store.staging("models/tail") as staged:
        shutil.copytree(folder / "split" / "tail", staged / "saved_model")
        (staged / "model.json").write_text("{}\n")
        store.commit(staged, "models/tail", Manifest(kind="model", code_version="bench"))
    manifest = store.read_manifest("models/tail")
    assert manifest is not None
    decision = GateDecision(
        verdict="yes", reasons=("a benchmark",), candidate="models/tail", candidate_sha256=manifest.sha256(),
        evaluation="-", policy=GatePolicy(),
    )  # fmt: skip
    with store.staging("decisions/bench") as staged:
        (staged / "decision.json").write_text(decision.model_dump_json())
        store.commit(staged, "decisions/bench", Manifest(kind="decision", code_version="bench"))
    publish_step.run(PublishJob(store=store.url, decision_ref="decisions/bench", name="tail"))
    return parts.contract.bytes_per_frame


def write_frames(folder: Path, first: int, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(first)
    for number in range(first, first + count):
        beside = folder / f".{number}.tmp"
        with beside.open("wb") as stream:
            np.save(stream, rng.normal(size=SHAPE).astype(np.float32))
        beside.rename(folder / f"{number:06d}.npy")


def edge(folder: Path, name: str, address: str, *more: str) -> list[str]:
    """Command line of an edge on the frames in ``folder``, with a state folder of its own."""
    return [
        sys.executable, "-m", "eyewall.cli", "edge", "run", f"--frames={folder / 'frames'}",
        f"--state={folder / name}", f"--server={address}", f"--head={folder / 'split' / 'tflite'}=tail",
        "--port=0", "--settle-s=0", "--json", *more,
    ]  # fmt: skip


def answers(folder: Path, name: str) -> list[dict[str, Any]]:
    table = Answers(folder / name / "answers.db")
    try:
        return list(table.rows(limit=10**6))
    finally:
        table.close()


def frames_a_second(rows: list[dict[str, Any]]) -> float:
    return len(rows) / (max(r["answered_at_s"] for r in rows) - min(r["taken_at_s"] for r in rows))


def run_once(link: Any, folder: Path, name: str, address: str, *more: str) -> tuple[float, dict[str, Any]]:
    """Frames per second, and the summary, of one run over every frame."""
    done = subprocess.run(
        link.as_client(edge(folder, name, address, "--once", *more)), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return frames_a_second(answers(folder, name)), json.loads(done.stdout.splitlines()[-1])


def spread(values: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 3), "min": round(min(values), 3), "max": round(max(values), 3)}


def cut(link: Any, server: subprocess.Popen[bytes], away: bool) -> None:
    """Take the link away, or give it back; without namespaces the server stands still instead."""
    if link.kind == "namespaces":
        subprocess.run(link.as_server(["ip", "link", "set", "wire", "down" if away else "up"]), check=True)
    else:
        server.send_signal(signal.SIGSTOP if away else signal.SIGCONT)


def outage(link: Any, folder: Path, address: str, server: subprocess.Popen[bytes], cut_s: float) -> dict[str, Any]:
    """Frames keep coming for 5 s, ``cut_s`` without the link, and 5 s: what became of each."""
    for path in (folder / "frames").iterdir():
        path.unlink()
    command = link.as_client(edge(folder, "outage", address, "--timeout-s=5"))
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    made, began, mended_s, away, was_away = 0, time.monotonic(), 0.0, False, False
    while (now := time.monotonic() - began) < cut_s + 10:
        if not was_away and now > 5:
            away = was_away = True
            cut(link, server, True)
        if away and now > 5 + cut_s:
            away = False
            cut(link, server, False)
            mended_s = time.time()
        write_frames(folder / "frames", 10**6 + made, 4)
        made += 4
        time.sleep(0.4)
    deadline = time.monotonic() + 120
    while len(answers(folder, "outage")) < made and time.monotonic() < deadline:
        time.sleep(0.2)
    running.send_signal(signal.SIGTERM)
    out, err = running.communicate(timeout=60)
    if running.returncode:
        raise SystemExit(err)
    summary = json.loads(out.splitlines()[-1])
    rows = answers(folder, "outage")
    names = Counter(row["name"] for row in rows)
    late = [row["answered_at_s"] - mended_s for row in rows if row["taken_at_s"] < mended_s < row["answered_at_s"]]
    return {
        "cut_s": cut_s, "frames": made, "answered": len(names), "lost": made - len(names),
        "doubled": sum(count - 1 for count in names.values()), "spooled": summary["spooled"],
        "asked_again": summary["repeated"], "left_in_spool": summary["waiting"],
        "drained_s_after_mending": round(max(late, default=0.0), 2),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cut-s", type=float, default=60.0)
    parser.add_argument("--rtt-ms", type=float, default=20.0)
    parser.add_argument("--link", choices=["auto", "namespaces", "proxy"], default="auto")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="eyewall-edge-") as name, open_link(options.link) as link:
        folder = Path(name)
        size = make_split(folder)
        write_frames(folder / "frames", 0, options.frames)
        ready = folder / "ready.json"
        serve = [
            sys.executable, "-m", "eyewall.cli", "serve", f"--store={folder / 'store'}", f"--host={link.server_host}",
            f"--grpc-port={PORT}", f"--rest-port={PORT + 1}", f"--ready-file={ready}",
        ]  # fmt: skip
        server = subprocess.Popen(link.as_server(serve), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not ready.exists():
                if server.poll() is not None:
                    raise SystemExit("the server did not start")
                time.sleep(0.1)
            result = measure(link, folder, link.address(PORT), size, options)
            if options.cut_s:
                result["outage"] = outage(link, folder, link.address(PORT), server, options.cut_s)
                print(json.dumps(result["outage"]))
        finally:
            server.send_signal(signal.SIGCONT)
            server.terminate()
            server.wait(30)
    if options.out:
        options.out.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")


def measure(link: Any, folder: Path, address: str, size: int, options: argparse.Namespace) -> dict[str, Any]:
    """Both kinds of edge in turn, at the bandwidth at which the link takes as long as the head."""
    serial = ("--no-overlap", "--in-flight=1")
    _, summary = run_once(link, folder, "first", address, *serial)
    head_s = summary["mean_ms"]["head"] / 1e3
    bytes_a_frame = summary["bytes_up"] / options.frames
    bandwidth = 8 * bytes_a_frame / head_s
    link.shape(LinkSpec(bandwidth_bps=bandwidth, rtt_s=options.rtt_ms / 1e3))
    print(f"head {1e3 * head_s:.1f} ms, {bytes_a_frame:.0f} bytes a frame, link {bandwidth / 1e6:.2f} Mbit/s,"
          f" {options.rtt_ms:g} ms; {link.describe()}")  # fmt: skip
    speeds: dict[str, list[float]] = {"in turn": [], "pipelined": []}
    parts: dict[str, Any] = {}
    for turn in range(options.rounds):
        for kind, more in (("in turn", serial), ("pipelined", ())):
            speed, summary = run_once(link, folder, f"{kind.replace(' ', '-')}-{turn}", address, *more)
            speeds[kind].append(speed)
            parts[kind] = summary["mean_ms"]
        print(f"round {turn + 1}: " + ", ".join(f"{kind} {of[-1]:.1f} frames/s" for kind, of in speeds.items()))
    ratios = [b / a for a, b in zip(speeds["in turn"], speeds["pipelined"], strict=True)]
    result = {
        "link": link.describe(), "head_ms": round(1e3 * head_s, 2), "feature_bytes": size,
        "bytes_a_frame": round(bytes_a_frame), "bandwidth_bps": round(bandwidth), "rtt_ms": options.rtt_ms,
        "frames": options.frames, "frames_a_second": {kind: spread(of) for kind, of in speeds.items()},
        "ratio": spread(ratios), "mean_ms_of_the_last_round": parts,
    }  # fmt: skip
    print(f"ratio {result['ratio']}")
    return result


if __name__ == "__main__":
    main()
