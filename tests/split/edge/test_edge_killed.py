"""Processes killed with -9 at any moment, edge and server, and what their state folder says in the end."""

import io
import json
import os
import random
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_split
from faulty_link import Proxy
from tiny_split import eyewall, frame, rows, server_process, until, write_frames

from eyewall.split.edge.spool import Spool


def run(folder: Path, address: str, *more: str, **fields) -> subprocess.Popen:
    """``eyewall edge run`` with raw frames to the whole model: it starts fast, as it needs no TensorFlow."""
    return eyewall("edge", "run", f"--frames={folder / 'frames'}", f"--state={folder / 'state'}", f"--server={address}",
                   "--head", f"{tiny_split.parts() / 'tflite'}=tail", "--cloud=whole", "--port=0", "--settle-s=0",
                   "--poll-s=0.05", "--reserve-mb=0", "--json", *more, **fields)  # fmt: skip


def raw(folder: Path, address: str, *more: str, **fields) -> subprocess.Popen:
    """The same without a head."""
    return eyewall("edge", "run", f"--frames={folder / 'frames'}", f"--state={folder / 'state'}", f"--server={address}",
                   "--cloud=whole", "--port=0", "--settle-s=0", "--poll-s=0.05", "--reserve-mb=0", "--json", *more,
                   **fields)  # fmt: skip


def write_raw(folder: Path, numbers) -> None:
    """Frames as .npz, whose arrays have the names that a server wants."""
    folder.mkdir(exist_ok=True)
    for number in numbers:
        np.savez(folder / f".{number}.npz", image=frame(number))
        (folder / f".{number}.npz").rename(folder / f"frame-{number:06d}.npz")


def as_npy(number: int) -> bytes:
    """A frame as the bytes of an .npy file."""
    stream = io.BytesIO()
    np.save(stream, frame(number))
    return stream.getvalue()


def scores(numbers) -> np.ndarray:
    """Of the whole network called in this process."""
    from eyewall.serving.saved_model import SavedModel

    return SavedModel(tiny_split.whole()).signature().run({"image": np.stack([frame(n) for n in numbers])})["score"]


def check(state: Path, count: int) -> None:
    found = rows(state)
    assert [row["name"] for row in sorted(found, key=lambda r: r["name"])] == [
        f"frame-{n:06d}.npz" for n in range(count)
    ]
    assert {row["outcome"] for row in found} == {"cloud"}
    got = [row["outputs"]["score"] for row in sorted(found, key=lambda r: r["name"])]
    np.testing.assert_allclose(np.float32(got), scores(range(count)), rtol=1e-4, atol=1e-5)


def spooled(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / "state" / "spool").glob("*.seg"))


def test_an_edge_killed_while_it_spools_and_while_it_drains_loses_nothing_and_doubles_nothing(server, tmp_path):
    """Killed four times, at moments that nobody chose; each start takes up what the last one left."""
    count, moments = 200, random.Random()
    with Proxy(server.grpc_port) as proxy:
        proxy.cut()
        for half in (range(count // 2), range(count // 2, count)):
            write_raw(tmp_path / "frames", half)  # news for each start: the one before may have spooled all there was
            process = raw(tmp_path, proxy.address)
            before = spooled(tmp_path)
            until(lambda before=before: spooled(tmp_path) > before, 120, process)
            time.sleep(moments.uniform(0, 0.15))
            process.kill()
            process.communicate()
        proxy.mend()
        for _ in range(2):
            process = raw(tmp_path, proxy.address, "--in-flight=3")
            done = len(rows(tmp_path / "state"))
            until(lambda done=done: len(rows(tmp_path / "state")) > min(done, count - 1), 120, process)
            time.sleep(moments.uniform(0, 0.15))
            process.kill()
            process.communicate()
        process = raw(tmp_path, proxy.address, "--once")
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert json.loads(out)["waiting"] == 0
    check(tmp_path / "state", count)
    assert Spool(tmp_path / "state" / "spool", 2**30).packets == 0


def test_a_server_killed_under_load_and_started_again_on_its_port_costs_no_frame(store_of_tails, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    write_raw(tmp_path / "frames", range(40))
    ready = tmp_path / "ready.json"
    with server_process(store_of_tails, ready, port=port) as (first, _):
        process = raw(tmp_path, f"127.0.0.1:{port}")
        try:
            until(
                lambda: len(rows(tmp_path / "state")) >= 10 if (tmp_path / "state/answers.db").exists() else False,
                60,
                process,
            )
            first.kill()
            first.wait()
            write_raw(tmp_path / "frames", range(40, 120))
            until(lambda: spooled(tmp_path) > 0, 30, process)
            ready.unlink(missing_ok=True)
            with server_process(store_of_tails, ready, port=port):
                until(lambda: len(rows(tmp_path / "state")) == 120, 120, process)
                process.send_signal(signal.SIGTERM)
                out, err = process.communicate(timeout=30)
        finally:
            process.kill()
            process.communicate()
    assert process.returncode == 0, err
    assert json.loads(out)["waiting"] == 0
    check(tmp_path / "state", 120)


def test_frames_on_standard_input_are_on_disk_before_they_are_sent_and_survive_a_kill(server, tmp_path):
    with Proxy(server.grpc_port) as proxy:
        proxy.cut()
        command = ["edge", "run", "--frames=-", f"--state={tmp_path / 'state'}", f"--server={proxy.address}",
                   f"--head={tiny_split.parts() / 'tflite'}=tail", "--port=0", "--reserve-mb=0", "--json"]  # fmt: skip
        process = eyewall(*command, stdin=subprocess.PIPE)
        for number in range(15):
            process.stdin.buffer.write(as_npy(number))
        process.stdin.flush()
        until(lambda: spooled(tmp_path) > 0 and Path(tmp_path, "state/spool").exists(), 120, process)
        size = -1
        while size != (size := spooled(tmp_path)):  # until it has taken them all
            time.sleep(0.5)
        process.kill()
        process.communicate()
        proxy.mend()
        process = eyewall(*command, "--once", stdin=subprocess.PIPE)
        process.stdin.buffer.write(as_npy(15))
        err = process.communicate(timeout=120)[1]
    assert process.returncode == 0, err
    found = rows(tmp_path / "state")
    assert [row["number"] for row in found] == list(range(16))
    np.testing.assert_allclose(
        np.float32([row["outputs"]["score"] for row in found]), tiny_split.expected(range(16)), atol=0.05
    )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    from certificates import self_signed

    return self_signed(tmp_path_factory.mktemp("tls"))


def test_tls_and_a_token_that_is_renewed_in_its_file_without_a_restart(store_of_tails, certificate, tmp_path):
    """The server's token changes under a running edge: it spools, and drains once its own file has the new one."""
    pem, key = certificate
    theirs, ours = tmp_path / "server-token", tmp_path / "edge-token"
    theirs.write_text("first-secret\n")
    ours.write_text("first-secret\n")
    write_frames(tmp_path / "frames", range(3))
    secure = [f"--tls-cert={pem}", f"--tls-key={key}", f"--token-file={theirs}"]
    with server_process(store_of_tails, tmp_path / "ready.json", *secure) as (_, port):
        process = run(tmp_path, f"127.0.0.1:{port}", f"--ca={pem}", f"--token-file={ours}")
        said: list[str] = []
        threading.Thread(target=lambda: said.extend(process.stderr), daemon=True).start()
        try:
            until(lambda: (tmp_path / "state/answers.db").exists() and len(rows(tmp_path / "state")) == 3, 120, process)
            theirs.write_text("another-secret\n")
            write_frames(tmp_path / "frames", range(3, 8))
            until(lambda: spooled(tmp_path) > 0, 30, process)
            assert len(rows(tmp_path / "state")) == 3
            ours.write_text("another-secret\n")
            until(lambda: len(rows(tmp_path / "state")) == 8, 120, process)
        finally:
            process.kill()
            process.wait()
    text = "".join(said)
    assert "UNAUTHENTICATED" in text
    assert "secret" not in text.replace("edge-token", "")
    assert "secret" not in Path(f"/proc/{os.getpid()}/cmdline").read_text()
