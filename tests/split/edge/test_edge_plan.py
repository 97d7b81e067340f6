"""What the link is taken to give, and which way frames go for it."""

import json

import numpy as np
import pytest
import tiny_split
from tiny_split import rows, until, write_frames

from eyewall.contracts.errors import ContractError, InputError
from eyewall.contracts.split import Option, Profile
from eyewall.split.edge.bandwidth import Bandwidth
from eyewall.split.edge.switch import Switch, read_profile


def simulated(bps: float, rtt_s: float, sizes, window: int, idle_s: float = 0.0, tail_s: float = 0.0) -> Bandwidth:
    """The estimate after requests of these sizes over an ideal link that is shared by all that are out."""
    found, clock, link_free = Bandwidth(), 0.0, 0.0
    found.round_trip(rtt_s)
    out: list[tuple[float, int]] = []  # (answered at, bytes)
    for size in sizes:
        clock += idle_s
        while out and (len(out) >= window or out[0][0] <= clock):
            clock = max(clock, out[0][0])
            found.answered(out[0][1], out.pop(0)[0], tail_s)
        found.sent(clock)
        link_free = max(link_free, clock) + 8 * size / bps
        out.append((link_free + rtt_s + tail_s, size))
    for answered_s, size in out:
        found.answered(size, answered_s, tail_s)
    return found


@pytest.mark.parametrize("bps", [1e6, 1e7, 1e8])
@pytest.mark.parametrize("rtt_s", [0.001, 0.05])
@pytest.mark.parametrize(
    ("window", "idle_s"),
    [pytest.param(8, 0.0, id="busy"), pytest.param(1, 0.0, id="in turn"), pytest.param(1, 2.0, id="idle")],
)
def test_bandwidth_is_found_within_a_fifth_whether_the_link_is_busy_or_idle(bps, rtt_s, window, idle_s):
    sizes = np.random.default_rng(2).integers(50_000, 150_000, 60).tolist()
    # Eight requests cover the round trip at 100 Mbit/s and 50 ms only in part: 8 · 100 kB · 8 bit / 0.05 s = 128 Mbit/s
    estimate = simulated(bps, rtt_s, sizes, window, idle_s, tail_s=0.002).bps
    assert estimate == pytest.approx(bps, rel=0.2)


def test_nothing_is_claimed_before_anything_was_measured_or_after_the_link_was_away():
    found = simulated(1e6, 0.01, [10_000] * 10, 2)
    assert found.bps is not None
    found.reset()
    assert found.bps is None
    found.answered(10_000, 99.0)  # of a request that was sent before
    assert found.bps is None


class Way:
    """A way in name only."""

    def __init__(self, name: str) -> None:
        self.name = name

    def fits(self, option: Option) -> bool:
        """Whether the names agree."""
        return option.name == self.name


def profile(**changes) -> Profile:
    """Little to send after a slow head, or much: 0.1 s + 8e4 bit / b against 0.02 s + 8e6 bit / b, even at 99 Mbps."""
    small = {
        "cut": "pool",
        "channels": 4,
        "wire": "int8",
        "head_s": 0.09,
        "tail_s": 0.01,
        "bytes_up": 10_000,
        "bytes_down": 0,
    }
    options = (
        Option(**small | changes.get("split", {})),
        Option(place="cloud", head_s=0.0, tail_s=0.02, bytes_up=1_000_000, bytes_down=0),
        Option(place="client", head_s=changes.get("client_s", 9.0), tail_s=0.0, bytes_up=0, bytes_down=0),
    )
    return Profile(model="tiny", loss_unit="%", options=options)


def test_the_plan_follows_the_link_both_ways_but_not_its_trembling():
    switch = Switch([Way("pool/4/int8"), Way("cloud")], profile())
    even = 8 * 990_000 / 0.08  # 99 Mbit/s
    assert switch.plan is None
    assert not switch.consider(None, 0.0)
    assert not switch.consider(even * 1.05, 0.0)  # better, by less than a tenth
    assert not switch.consider(even * 1.05, 0.0)
    assert not switch.consider(1e6, 0.0)
    assert not switch.consider(1e9, 0.0)  # once is not twice in a row
    assert not switch.consider(1e6, 0.0)
    assert not switch.consider(1e9, 0.0)
    assert switch.consider(1e9, 0.0)
    assert switch.name == "cloud"
    assert not switch.consider(1e6, 0.0)
    assert switch.consider(1e6, 0.0)
    assert switch.name == "pool/4/int8"
    (there,) = switch.plan.break_evens
    assert there.bandwidth_bps == pytest.approx(even)


def test_ways_that_are_not_at_hand_are_never_planned():
    """At 1 Gbit/s cloud is best, and there is no cloud here."""
    switch = Switch([Way("pool/4/int8"), Way("client")], profile())
    for _ in range(3):
        switch.consider(1e9, 0.0)
    assert switch.name == "pool/4/int8"


def test_while_nothing_is_sent_one_packet_now_and_then_measures_the_link():
    now = [0.0]
    switch = Switch(
        [Way("client"), Way("cloud"), Way("pool/4/int8")], profile(client_s=0.001), probe_s=30, clock=lambda: now[0]
    )
    names = []
    for _ in range(8):
        now[0] += 10
        names.append(switch.way().name)
    assert names == ["client", "client", "pool/4/int8", "client", "client", "pool/4/int8", "client", "client"]


def test_a_profile_of_something_else_or_a_loss_that_no_way_keeps_is_refused(tmp_path):
    with pytest.raises(ContractError, match="none for stem/8/int8"):
        Switch([Way("stem/8/int8")], profile())
    lossy = profile(split={"loss": 2.5})
    assert Switch([Way("pool/4/int8"), Way("cloud")], lossy, max_loss=1.0).name == "cloud"
    with pytest.raises(ContractError, match=r"loses least, 2\.5 %"):
        Switch([Way("pool/4/int8")], lossy, max_loss=1.0)
    with pytest.raises(InputError, match="cannot be read"):
        read_profile(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(ContractError, match="is no profile: model"):
        read_profile(tmp_path / "bad.json")


def test_a_running_edge_changes_its_plan_when_the_link_slows_down_and_misses_no_frame(proxy, edge, tmp_path):
    """Raw frames (256 bytes, claimed to be 1 MB) while the link is fast, features when it is slow."""
    (tmp_path / "profile.json").write_text(profile().model_dump_json())
    claimed = json.loads((tmp_path / "profile.json").read_text())
    claimed["options"][0] |= {"bytes_up": 100, "head_s": 0.24, "tail_s": 0.0}
    claimed["options"][1] |= {"bytes_up": 400, "tail_s": 0.0}
    (tmp_path / "profile.json").write_text(json.dumps(claimed))
    # 0.24 s + 800 bit / b against 3200 bit / b: even at 10 kbps, slower than any machine and faster than what follows
    write_frames(tmp_path / "frames", range(40))
    running = edge(server=proxy.address, head=[f"{tiny_split.parts() / 'tflite'}=tail"], cloud="whole",
                   profile=str(tmp_path / "profile.json"), in_flight=2)  # fmt: skip
    until(lambda: running.edge.switch.name == "cloud")
    proxy.bytes_per_s = 300.0
    number = 40

    def more() -> bool:
        nonlocal number
        write_frames(tmp_path / "frames", range(number, number + 2))
        number += 2
        return running.edge.switch.name == "pool/4/int8"

    until(more)
    proxy.bytes_per_s = float("inf")
    until(lambda: running.count("frames", outcome="cloud") == number)
    assert running.end()["switches"] >= 2
    found = rows(running.state)
    assert len({row["id"] for row in found}) == len(found) == number
    assert {row["way"] for row in found} == {"cloud", "pool/4/int8"}
