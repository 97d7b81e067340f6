"""Profiles: what is measured of a way, what is told of it, and what is no frame."""

# NOTE: injected by pytest: tmp_path
import json
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from typer.testing import CliRunner

from eyewall.contracts.errors import ContractError, InputError, ServingError
from eyewall.contracts.split import Option, Profile, WireContract
from eyewall.split import profiler
from eyewall.split.commands import app
from eyewall.split.edge.link import End
from eyewall.split.edge.ways import ClientWay, CloudWay, SplitWay
from eyewall.split.planner import plan
from eyewall.split.profiler import (
    Probe,
    frames_of,
    measure,
    on_the_link,
    option_of,
    probe,
    read_frames,
    requests_of,
    spread,
)

FRAMES = frames_of({"image": np.arange(24, dtype=np.uint8).reshape(3, 8)})
CONTRACT = WireContract(model="ab" * 32, cut="pool2", wire="float32", shape=(2, 2))


class Doubling:
    """A local model: [b, 8] uint8 → twice the first four as [b, 2, 2] float32."""

    inputs: ClassVar = {"image": SimpleNamespace(dtype=np.dtype(np.uint8), shape=(8,))}

    def run(self, inputs, texts=None):
        """As `LocalModel.run`."""
        return {"features": 2 * inputs["image"][:, :4].reshape(-1, 2, 2).astype(np.float32)}


class Server:
    """A link that answers at once, or refuses."""

    address = "127.0.0.1:1"

    def __init__(self, end=End.ANSWERED):
        self.packets, self.end = [], end

    def send(self, packet, timeout_s):
        """As `Link.send`."""
        self.packets.append(packet)
        size = 50 + sum(array.nbytes for array in packet.tensors.values())
        return SimpleNamespace(bytes=size, bytes_down=40, end=lambda: (self.end, "no such tail", {}, 1))


SPLIT, CLOUD, CLIENT = SplitWay("tail", CONTRACT, Doubling()), CloudWay("whole"), ClientWay(Doubling())


def test_every_request_is_timed_in_both_parts_and_its_bytes_are_kept():
    """Two frames of 4 float32 values are 32 bytes, and 50 of the message."""
    server = Server()

    found = probe(SPLIT, server, requests_of(FRAMES, 3, batch=2))

    assert len(found.head_s) == len(found.total_s) == len(server.packets) == 3
    assert all(0 <= head <= total for head, total in zip(found.head_s, found.total_s, strict=True))
    assert (found.bytes_up, found.bytes_down) == (82, 40)


def test_requests_take_the_frames_in_turn_and_begin_again():
    numbers = [[frame.key.number for frame in request] for request in requests_of(FRAMES, 3, batch=2, first=1)]

    assert numbers == [[1, 2], [0, 1], [2, 0]]


def test_a_refusal_ends_the_measurement_with_the_servers_words():
    with pytest.raises(ServingError, match="did not answer pool2/2/float32: no such tail"):
        probe(SPLIT, Server(End.REFUSED), requests_of(FRAMES, 1))


def test_all_client_asks_nobody():
    server = Server()

    found = probe(CLIENT, server, requests_of(FRAMES, 2))

    assert server.packets == []
    assert (found.bytes_up, found.bytes_down) == (0, 0)
    with pytest.raises(InputError, match="needs a model server"):
        probe(CLOUD, None, requests_of(FRAMES, 1))


def test_a_row_is_of_medians_without_the_round_trip():
    # rests: 7, 9 and 30 ms; median 9, less the round trip of 4
    found = Probe([0.001, 0.003, 0.002], [0.008, 0.012, 0.032], 1000, 40)

    row = option_of(SPLIT, found, 0.004, 0.5)

    assert (row.place, row.cut, row.channels, row.wire) == ("split", "pool2", 2, "float32")
    assert row.head_s == 0.002
    assert row.tail_s == pytest.approx(0.005)
    assert (row.bytes_up, row.loss) == (on_the_link(1000), 0.5)


def test_a_message_crosses_with_the_headers_of_its_segments():
    # 1000 + 64 fit into one segment of 1448: 66 bytes more; 3000 + 64 take three
    assert on_the_link(1000) == 1130
    assert on_the_link(3000) == 3064 + 3 * 66
    assert on_the_link(0) == 0


def test_a_profile_has_a_row_for_each_way_and_can_be_planned_by():
    profile = measure(
        [SPLIT, CLOUD, CLIENT], Server(), FRAMES, model="m", losses={SPLIT.name: 0.4}, loss_unit="points", rounds=2
    )

    assert [option.name for option in profile.options] == ["pool2/2/float32", "cloud", "client"]
    assert [option.loss for option in profile.options] == [0.4, 0.0, 0.0]
    assert plan(Profile.model_validate_json(profile.model_dump_json()), 1e6, 0.01).option in profile.options


def test_every_way_has_as_many_turns_as_the_others():
    """Three frames in each of two rounds, after three to warm up: 9 requests each for split and cloud."""
    server = Server()

    measure([SPLIT, CLOUD, CLIENT], server, FRAMES, model="m", rounds=2)

    assert [packet.way for packet in server.packets].count("cloud") == 9
    assert [packet.way for packet in server.packets].count(SPLIT.name) == 9


def test_a_loss_for_a_way_that_is_none_is_refused():
    with pytest.raises(InputError, match=r"\['pool9/1/int8'\]: the ways are client"):
        measure([CLIENT], None, FRAMES, model="m", losses={"pool9/1/int8": 1.0})


def test_frames_come_back_from_their_file(tmp_path):
    np.savez(tmp_path / "frames.npz", image=np.arange(24).reshape(3, 8), age=np.arange(3.0))

    frames = read_frames(tmp_path / "frames.npz")

    assert len(frames) == 3
    assert frames[2].inputs["image"].tolist() == list(range(16, 24))
    assert frames[2].inputs["age"] == 2.0


@pytest.mark.parametrize(
    "arrays",
    [
        pytest.param({"a": np.arange(3), "b": np.arange(4)}, id="unequal"),
        pytest.param({"a": np.zeros((0, 5))}, id="empty"),
        pytest.param({"a": np.float32(7)}, id="no batch axis"),
    ],
)
def test_arrays_that_are_no_frames_are_refused(tmp_path, arrays):
    np.savez(tmp_path / "frames.npz", **arrays)

    with pytest.raises(InputError, match="all must hold as many"):
        read_frames(tmp_path / "frames.npz")


@pytest.mark.parametrize("damage", ["absent", "cut short", "pickle"])
def test_a_file_that_is_no_npz_is_refused_and_none_is_unpickled(tmp_path, damage):
    path = tmp_path / "frames.npz"
    if damage == "cut short":
        np.savez(path, image=np.arange(24).reshape(3, 8))
        path.write_bytes(path.read_bytes()[:-40])
    if damage == "pickle":
        np.savez(path, image=np.array([{"a": 1}], dtype=object))

    with pytest.raises(InputError, match="no frames in"):
        read_frames(path)


def test_quartiles_are_those_of_the_values():
    assert spread([4.0, 1.0, 3.0, 2.0, 5.0]) == (2.0, 3.0, 4.0)


def test_warm_up_is_longer_than_one_request():
    assert profiler.WARM_UP > 1


ROWS = Profile(
    model="m",
    loss_unit="points",
    options=(
        Option(place="cloud", head_s=0, tail_s=0.002, bytes_up=3000, bytes_down=0),
        Option(cut="p", wire="int8", head_s=0.02, tail_s=0.001, bytes_up=500, bytes_down=0, loss=0.6),
    ),
)


def run(*args):
    return CliRunner().invoke(app, ["plan", *map(str, args)])


def test_the_command_plan_tells_the_way_and_the_break_even(tmp_path):
    """2500 B · 8 / b = 19 ms: 1.05 Mbit/s."""
    path = tmp_path / "profile.json"
    path.write_text(ROWS.model_dump_json())

    said = run(path, "--bandwidth-mbps", 1, "--rtt-ms", 1)

    assert said.exit_code == 0
    assert "way            p/all/int8" in said.stdout
    assert "at 1.05263 Mbps p/all/int8 below, cloud above" in said.stdout
    limited = json.loads(run(path, "--bandwidth-mbps", 1, "--rtt-ms", 1, "--max-loss", 0.5, "--json").stdout)
    assert limited["option"]["place"] == "cloud"


def test_the_command_plan_takes_the_profile_of_a_part_of_a_study(tmp_path):
    path = tmp_path / "study.json"
    path.write_text(json.dumps({"profiles": {"caffenet": ROWS.model_dump(mode="json")}}))

    assert run(path, "--bandwidth-mbps", 1, "--rtt-ms", 1, "--part", "caffenet").exit_code == 0
    refused = run(path, "--bandwidth-mbps", 1, "--rtt-ms", 1)
    assert isinstance(refused.exception, InputError)
    assert "no part 'cifar10': it has caffenet" in str(refused.exception)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        pytest.param("{", InputError, id="no JSON"),
        pytest.param('{"model": "m"}', ContractError, id="another JSON"),
        pytest.param('{"model": "m", "options": []}', ContractError, id="no rows"),
    ],
)
def test_the_command_plan_refuses_what_is_no_profile(tmp_path, text, error):
    path = tmp_path / "profile.json"
    path.write_text(text)

    assert isinstance(run(path, "--bandwidth-mbps", 1, "--rtt-ms", 1).exception, error)
