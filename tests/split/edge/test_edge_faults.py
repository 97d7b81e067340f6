"""An edge against a real model server over a link that breaks: every frame gets one right answer, in whatever way."""

import json
import os
import subprocess
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import tiny_split
from tiny_split import expected, frame, rows, until, write_frames

from eyewall.contracts.errors import ContractError, InputError, ServingError
from eyewall.storage import Store


def check(state: Path, numbers, outcomes=("cloud",)) -> None:
    """Exactly these frames have exactly one answer each, and it is the right one."""
    found = rows(state)
    assert sorted(row["name"] for row in found) == [f"frame-{n:06d}.npy" for n in sorted(numbers)]
    assert {row["outcome"] for row in found} <= set(outcomes)
    scores = np.array([row["outputs"]["score"] for row in sorted(found, key=lambda row: row["name"])], np.float32)
    # TFLite's int8 features may differ from the head's by one step of the wire.
    np.testing.assert_allclose(scores, expected(sorted(numbers)), atol=0.05)


def test_every_frame_of_a_folder_is_answered_and_a_second_run_sends_nothing(server, edge, tmp_path):
    write_frames(tmp_path / "frames", range(20))
    first = edge(server=server.address, once=True, batch=4)
    summary = first.wait()
    assert (summary["cloud"], summary["waiting"], summary["spooled"]) == (20, 0, 0)
    check(first.state, range(20))
    assert [row["number"] for row in rows(first.state)] == list(range(20))  # in the order of their names
    first.close()

    write_frames(tmp_path / "frames", [20])
    second = edge(server=server.address, once=True)
    assert second.wait()["cloud"] == 1
    check(second.state, range(21))


def test_frames_that_come_while_it_runs_are_taken_and_answered_ones_removed_where_wanted(server, edge, tmp_path):
    running = edge(server=server.address, remove=True)
    write_frames(tmp_path / "frames", range(5))
    until(lambda: running.count("frames", outcome="cloud") == 5)
    write_frames(tmp_path / "frames", range(5, 8))
    until(lambda: running.count("frames", outcome="cloud") == 8)
    until(lambda: not any((tmp_path / "frames").iterdir()))
    running.end()
    check(running.state, range(8))


def test_a_link_that_is_cut_and_mended_loses_nothing_doubles_nothing_and_keeps_the_order(proxy, edge, tmp_path):
    write_frames(tmp_path / "frames", range(10))
    running = edge(server=proxy.address)
    until(lambda: running.count("frames", outcome="cloud") == 10)
    proxy.cut()
    write_frames(tmp_path / "frames", range(10, 60))
    until(lambda: running.edge.spool.frames == 50)
    assert running.edge.status()["away_s"] is not None
    proxy.mend()
    until(lambda: running.count("frames", outcome="cloud") == 60)
    assert running.edge.status()["away_s"] is None
    assert running.end()["waiting"] == 0
    check(running.state, range(60))
    by_time = sorted(rows(running.state), key=lambda row: row["answered_at_s"])
    numbers = [row["number"] for row in by_time]
    assert numbers == sorted(numbers)
    assert list((running.state / "spool").iterdir()) == []


def test_a_link_that_freezes_without_a_word_is_noticed_and_a_new_connection_made(proxy, edge, tmp_path):
    write_frames(tmp_path / "frames", range(5))
    running = edge(server=proxy.address, timeout_s=0.5)
    until(lambda: running.count("frames", outcome="cloud") == 5)
    proxy.freeze()
    write_frames(tmp_path / "frames", range(5, 25))
    until(lambda: running.edge.spool.frames == 20)
    assert "DEADLINE_EXCEEDED" in running.edge.status()["why_away"]
    proxy.thaw()  # what was frozen arrives after all: the server answers some of it twice
    until(lambda: running.count("frames", outcome="cloud") == 25)
    running.end()
    check(running.state, range(25))


def test_an_edge_told_to_stop_while_the_link_is_away_leaves_what_it_computed_in_the_spool(proxy, edge, tmp_path):
    proxy.cut()
    write_frames(tmp_path / "frames", range(12))
    first = edge(server=proxy.address, grace_s=0.2)
    until(lambda: first.edge.spool.frames == 12)
    assert first.end()["waiting"] == 12
    first.close()
    for path in (tmp_path / "frames").iterdir():
        path.unlink()  # the spool alone has them now
    proxy.mend()
    second = edge(server=proxy.address, once=True)
    assert second.wait()["cloud"] == 12
    check(second.state, range(12))


def test_with_once_it_gives_up_with_an_error_when_the_server_stays_away(proxy, edge, tmp_path):
    proxy.cut()
    write_frames(tmp_path / "frames", range(3))
    running = edge(server=proxy.address, once=True, give_up_s=0.5)
    with pytest.raises(ServingError, match="waits in the spool"):
        running.wait()
    assert running.edge.spool.frames == 3


def test_a_full_spool_stops_intake_and_nothing_is_lost(proxy, edge, tmp_path):
    proxy.cut()
    write_frames(tmp_path / "frames", range(120))
    running = edge(server=proxy.address, spool_mb=0.01, queue=3, batch=2)  # some 20 packets
    until(lambda: running.edge.courier.full)
    assert "spool_full 1" in running.edge.metrics.text()
    assert running.edge.spool.bytes <= 0.01 * 2**20

    def stands_still():  # what was on its way when the spool was full still gets as far as the queue
        held = running.count("taken_frames")
        time.sleep(0.3)
        return running.count("taken_frames") == held

    until(stands_still)
    assert running.count("taken_frames") < 120
    assert stands_still()
    proxy.mend()
    until(lambda: running.count("frames", outcome="cloud") == 120)
    running.end()
    check(running.state, range(120))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB."""
    folder = tmp_path / "state"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("may not mount a small file system here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_full_disk_stops_intake_and_nothing_is_lost(proxy, edge, tmp_path, small_disk):
    """Neither the spool nor the answers can be written; frames wait in their folder until there is room."""
    proxy.cut()
    running = edge(server=proxy.address)
    with (small_disk / "ballast").open("wb") as stream:
        disk = os.statvfs(small_disk)
        stream.write(b"x" * (disk.f_bavail * disk.f_frsize - 50_000))  # room for some 100 packets of 450 bytes
    write_frames(tmp_path / "frames", range(200))
    until(lambda: running.edge.courier.full)
    assert 0 < running.edge.spool.frames < 200
    proxy.mend()
    time.sleep(1.0)
    assert running.count("frames", outcome="cloud") < 200
    (small_disk / "ballast").unlink()
    until(lambda: running.count("frames", outcome="cloud") == 200)
    running.end()
    check(running.state, range(200))
    running.close()


def test_a_local_tail_answers_while_the_link_is_away_and_the_cloud_when_it_is_back(proxy, edge, tmp_path):
    proxy.cut()
    write_frames(tmp_path / "frames", range(6))
    running = edge(server=proxy.address, fallback=str(tiny_split.parts() / "tail"))
    until(lambda: running.count("frames", outcome="edge") >= 5)  # the one that found the link away may be out again
    proxy.mend()
    until(lambda: running.edge.status()["away_s"] is None)  # found by a small question: there is nothing to send
    write_frames(tmp_path / "frames", range(6, 10))
    until(lambda: len(rows(running.state)) == 10)
    summary = running.end()
    assert summary["cloud"] >= 4
    check(running.state, range(10), ("cloud", "edge"))


def test_all_client_sends_nothing_and_all_cloud_sends_raw_frames(server, edge, tmp_path):
    """Float32 all the way: the whole network in either place gives one answer, cut or not."""
    write_frames(tmp_path / "frames", range(4))
    here = edge(client=str(tiny_split.whole()), once=True, server="127.0.0.1:1")
    assert here.wait()["bytes_up"] == 0
    local = [row["outputs"]["score"] for row in rows(here.state)]
    here.close()
    (tmp_path / "other").mkdir()
    for number in range(4):
        np.savez(tmp_path / "other" / f"frame-{number:06d}.npz", image=frame(number))
    there = edge(cloud="whole:stable", frames=str(tmp_path / "other"), state=str(tmp_path / "state2"),
                 server=server.address, once=True, batch=2)  # fmt: skip
    summary = there.wait()
    assert summary["bytes_up"] > 4 * frame(0).nbytes
    remote = [row["outputs"]["score"] for row in rows(tmp_path / "state2")]
    np.testing.assert_allclose(local, remote, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(remote, expected(range(4)), atol=0.1)  # int8 features cost so much at most


def test_a_tail_of_another_split_ends_the_edge_with_a_clear_error_and_what_was_computed_is_kept(server, edge, tmp_path):
    other = tiny_split.parts(seed=4)
    write_frames(tmp_path / "frames", range(3))
    running = edge(head=[f"{other}=tail"], server=server.address)
    with pytest.raises(ContractError, match=r"features of another split.*deploy head and tail from one"):
        running.wait()
    assert running.edge.spool.frames == 3
    assert rows(running.state) == []
    running.close()

    # The head that belongs there takes over; what the stranger left is told, and is in nobody's way.
    write_frames(tmp_path / "frames", range(3, 6))
    mended = edge(server=server.address, once=True)
    assert mended.wait()["quarantined"] == 3
    found = rows(mended.state)
    assert {row["outcome"] for row in found if row["number"] < 3} == {"quarantined"}
    assert all("no longer here" in row["reason"] for row in found if row["number"] < 3)
    assert [row["outcome"] for row in found if row["number"] >= 3] == ["cloud"] * 3


def test_a_frame_that_the_server_refuses_is_found_in_its_batch_and_the_others_are_answered(server, edge, tmp_path):
    """The whole model takes [8, 8, 1]: frames of other shapes do not stack with the others, and are refused alone."""
    write_frames(tmp_path / "frames", range(4))
    for number, shape in ((4, (8, 8, 2)), (5, (7, 8, 1))):
        np.savez(tmp_path / "frames" / f"frame-{number:06d}.npz", image=np.full(shape, 0.5, np.float32))
    for number in range(4):
        (tmp_path / "frames" / f"frame-{number:06d}.npy").unlink()
        np.savez(tmp_path / "frames" / f"frame-{number:06d}.npz", image=frame(number))
    running = edge(cloud="whole", server=server.address, once=True, batch=8, linger_s=0.2)
    summary = running.wait()
    assert (summary["cloud"], summary["quarantined"]) == (4, 2)
    bad = {row["name"]: row["reason"] for row in rows(running.state) if row["outcome"] == "quarantined"}
    assert set(bad) == {"frame-000004.npz", "frame-000005.npz"}
    assert all("the size of an axis differs" in reason for reason in bad.values())


def test_bad_frames_go_to_quarantine_with_a_reason_and_do_not_hold_up_the_others(server, edge, tmp_path):
    folder = tmp_path / "frames"
    write_frames(folder, range(2))
    np.save(folder / "frame-shape.npy", frame(3)[:7])
    np.save(folder / "frame-nan.npy", np.where(frame(4) > 0, np.nan, frame(4)))
    (folder / "frame-text.npy").write_text("hello")
    (folder / "frame-link.npy").symlink_to("/etc/passwd")
    running = edge(server=server.address, once=True, remove=True, batch=8)
    summary = running.wait()
    assert (summary["cloud"], summary["quarantined"]) == (2, 4)
    reasons = {row["name"]: row["reason"] for row in rows(running.state) if row["outcome"] == "quarantined"}
    assert "the model takes float32 [8, 8, 1]" in reasons["frame-shape.npy"]
    assert "not finite" in reasons["frame-nan.npy"]
    assert "no .npy header" in reasons["frame-text.npy"]
    assert "cannot be opened as a plain file" in reasons["frame-link.npy"]
    assert list(folder.iterdir()) == []
    assert len(list((running.state / "quarantine").iterdir())) == 4
    again = rows(running.state)
    running.close()
    second = edge(server=server.address, once=True)
    second.wait()
    assert rows(second.state) == again


def test_a_model_that_is_not_served_yet_is_waited_for(store_of_tails, server, edge, tmp_path):
    write_frames(tmp_path / "frames", range(3))
    running = edge(head=[f"{tiny_split.parts()}=later"], server=server.address)
    until(lambda: running.edge.spool.frames == 3)
    assert "NOT_FOUND" in running.edge.status()["why_away"]
    tiny_split.publish(Store(store_of_tails), tiny_split.parts() / "tail", "later")
    _reload(server, store_of_tails)
    until(lambda: running.count("frames", outcome="cloud") == 3)
    running.end()
    check(running.state, range(3))


def _reload(server, store: str) -> None:
    """Have the server serve what the store says."""
    from eyewall.serving.client import Client, ModelConfig

    models = [ModelConfig(n, f"{store}/serving/{n}", (1,), {"stable": 1}) for n in ("tail", "whole", "later")]
    with Client(server.address) as client:
        client.reload([ModelConfig(m.name, m.base_path, m.versions) for m in models])
        until(lambda: all(client.status(m.name).get(1) and client.status(m.name)[1].available for m in models))
        client.reload(models)


def test_metrics_and_status_are_on_the_loopback_address_and_say_what_happened(server, edge, tmp_path):
    write_frames(tmp_path / "frames", range(3))
    running = edge(server=server.address)
    until(lambda: running.count("frames", outcome="cloud") == 3)
    base = f"http://127.0.0.1:{running.edge.endpoint.port}"
    assert running.edge.endpoint.server_address[0] == "127.0.0.1"
    with urllib.request.urlopen(f"{base}/metrics") as page:
        text = page.read().decode()
    assert 'eyewall_edge_frames_total{outcome="cloud"} 3\n' in text
    assert 'eyewall_edge_plan{way="pool/4/int8"} 1\n' in text
    assert 'eyewall_edge_seconds_count{part="link"} 3\n' in text
    with urllib.request.urlopen(f"{base}/status") as page:
        status = json.load(page)
    assert status["plan"] == "pool/4/int8"
    assert status["values"]["bytes/up"] > 3 * 64  # 4×4×4 int8 values a frame, and the message around them
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{base}/../etc/passwd")


def test_two_edges_never_share_a_state_folder(server, edge):
    edge(server=server.address)
    with pytest.raises(InputError, match="another edge works in"):
        edge(server=server.address)
