"""The link of a measurement: its delay line, its proxy, its namespaces, and the limit of its client."""

# NOTE: injected by pytest: tmp_path, monkeypatch
import os
import socket
import subprocess
import sys
import time

import pytest

from eyewall.contracts.errors import InputError
from eyewall.split.study import link as links
from eyewall.split.study import namespaces
from eyewall.split.study.cpu_limit import CpuLimit
from eyewall.split.study.delay_line import DelayLine
from eyewall.split.study.link import LinkSpec, open_link
from eyewall.split.study.namespaces import NamespaceLink
from eyewall.split.study.proxy import ProxyLink, Shape

VNET = bytes(10)  # the header before each frame


@pytest.fixture
def line():
    """A delay line with both ends' far sides, and a pipe that stands for its commands."""
    (near, a), (far, b) = (socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2))
    for end in (a, b, far, near):
        end.setblocking(False)
    reading, writing = os.pipe()
    yield DelayLine(a, b), near, far, reading
    for end in (near, a, far, b):
        end.close()
    os.close(reading)
    os.close(writing)


def received(line, far, commands, count):
    """The next frames at ``far``, with the times at which they came."""
    found = []
    while len(found) < count:
        line.turn(commands, 0.01)
        try:
            found.append((far.recv(2000), time.monotonic()))
        except BlockingIOError:
            continue
    return found


def test_frames_come_out_in_their_order_and_never_before_their_delay(line):
    relay, near, far, commands = line
    relay.delay_s = 0.02
    sent_s = time.monotonic()
    for i in range(5):
        near.send(VNET + bytes([i]) * 60)

    frames = received(relay, far, commands, 5)

    assert [frame[10] for frame, _ in frames] == [0, 1, 2, 3, 4]
    assert all(at_s - sent_s >= 0.02 for _, at_s in frames)


def test_a_frame_leaves_when_its_last_bit_would_have_come(line):
    """Two frames of 100 bytes at 0.1 ms a byte: the first is whole after 10 ms, the second after 20."""
    relay, near, far, commands = line
    relay.byte_s = 1e-4
    sent_s = time.monotonic()
    near.send(VNET + bytes(100))
    near.send(VNET + bytes(100))

    (_, first_s), (_, second_s) = received(relay, far, commands, 2)

    assert first_s - sent_s >= 0.010
    assert second_s - sent_s >= 0.020


def test_both_ways_have_a_wire_of_their_own(line):
    """What is on its way up does not hold up what goes down."""
    relay, near, far, commands = line
    relay.byte_s = 1e-2
    near.send(VNET + bytes(1000))  # ten seconds of wire
    far.send(VNET + b"x")

    ((frame, _),) = received(relay, near, commands, 1)

    assert frame == VNET + b"x"


ECHO = """
import socket, sys
listener = socket.socket()
listener.bind((sys.argv[1], 0))
listener.listen()
print(listener.getsockname()[1], flush=True)
while True:
    client, _ = listener.accept()
    while data := client.recv(65536):
        client.sendall(data)
"""
ASK = """
import socket, sys, time
host, port, size = sys.argv[1].rsplit(":", 1) + [int(sys.argv[2])]
data = bytes(range(256)) * (size // 256)
with socket.create_connection((host, int(port))) as end:
    began, got = time.monotonic(), b""
    end.sendall(data)
    while len(got) < len(data):
        got += end.recv(65536)
    print(time.monotonic() - began, got == data)
"""


def asked(link, size):
    """Seconds that an echo of ``size`` bytes took over ``link``, and whether it was the same."""
    server = subprocess.Popen(
        link.as_server([sys.executable, "-c", ECHO, link.server_host]), stdout=subprocess.PIPE, text=True
    )
    try:
        address = link.address(int(server.stdout.readline()))
        args = link.as_client([sys.executable, "-c", ASK, address, str(size)])
        seconds, same = subprocess.run(args, capture_output=True, text=True, check=True).stdout.split()
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    return float(seconds), same == "True"


@pytest.fixture(params=["proxy", "namespaces"])
def standing(request):
    """A link of either kind; namespaces where they are allowed."""
    if request.param == "namespaces" and (reason := namespaces.why_not()):
        pytest.skip(f"no network namespaces here: {reason}")
    with NamespaceLink() if request.param == "namespaces" else ProxyLink("a test") as link:
        yield link


def test_what_crosses_the_link_is_unchanged_and_no_faster_than_the_link(standing):
    """25,600 bytes up and down at 4 Mbit/s are 51.2 ms each way; a round trip of 40 ms comes to the first of them.

    The echo begins to come back while it is still being sent, so that half of both is the least.
    """
    standing.shape(LinkSpec(bandwidth_bps=4e6, rtt_s=0.04))

    seconds, same = asked(standing, 25_600)

    assert same
    assert seconds >= 0.0512 + 0.04


def test_a_link_is_reshaped_while_it_stands(standing):
    standing.shape(LinkSpec(bandwidth_bps=None, rtt_s=0.3))
    far_s, _ = asked(standing, 256)
    standing.shape(LinkSpec(bandwidth_bps=1e9, rtt_s=0.0))
    near_s, _ = asked(standing, 256)

    assert far_s >= 0.3
    assert near_s < far_s


def test_nothing_is_left_of_a_link_of_namespaces():
    if reason := namespaces.why_not():
        pytest.skip(f"no network namespaces here: {reason}")
    link = NamespaceLink()
    with pytest.raises(KeyboardInterrupt), link:
        raise KeyboardInterrupt

    there = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert link._client not in there
    assert link._server not in there


def test_without_the_tools_or_the_rights_there_is_a_reason_and_a_proxy(monkeypatch):
    monkeypatch.setattr(namespaces.shutil, "which", lambda name: None)

    assert "ip and tc not found" in namespaces.why_not()
    assert isinstance(open_link(), ProxyLink)
    assert "ip and tc not found" in open_link().describe()
    with pytest.raises(InputError, match="--link proxy"):
        open_link("namespaces")


def test_a_bucket_lets_one_packet_through_at_once_or_a_tenth_of_a_millisecond():
    # 10 Mbit/s · 0.1 ms = 125 bytes, less than a packet; 1 Gbit/s · 0.1 ms = 12,500 bytes
    assert namespaces._bucket(1e7)[4] == "1600"
    assert namespaces._bucket(1e9)[4] == "12500"


@pytest.mark.parametrize(
    ("bandwidth_bps", "text"),
    [
        pytest.param(1e9, "1 Gbps", id="giga"),
        pytest.param(2.5e6, "2.5 Mbps", id="mega"),
        pytest.param(56e3, "56 kbps", id="kilo"),
        pytest.param(300.0, "300 bps", id="plain"),
        pytest.param(None, "unshaped", id="none"),
    ],
)
def test_a_bandwidth_is_told_in_its_unit(bandwidth_bps, text):
    assert links.bandwidth_text(bandwidth_bps) == text


def test_a_proxy_passes_on_a_millisecond_of_the_link_at_once():
    shape = Shape()
    assert shape.chunk_bytes() == 65_536
    shape.byte_s = 8 / 1e8  # 100 Mbit/s: 12,500 bytes a millisecond
    assert shape.chunk_bytes() == 12_500
    shape.byte_s = 8 / 1e6  # 125 bytes: a segment at least
    assert shape.chunk_bytes() == 1448


def test_a_share_becomes_a_quota_of_a_short_period(tmp_path):
    """Version 1: 0.25 of a period of 10 ms are 2.5 ms; the group is gone afterwards."""
    (tmp_path / "cpu").mkdir()
    with CpuLimit(0.25, tmp_path) as limit:
        (group,) = (tmp_path / "cpu").iterdir()
        limit.add(4711)
        assert (group / "cpu.cfs_quota_us").read_text() == "2500"
        assert (group / "cpu.cfs_period_us").read_text() == "10000"
        assert (group / "cgroup.procs").read_text() == "4711"
        assert "0.25 of one" in limit.describe()
        for file in group.iterdir():  # the kernel's own vanish with the folder
            file.unlink()

    assert list((tmp_path / "cpu").iterdir()) == []


def test_where_no_group_can_be_made_nothing_is_limited_and_the_report_says_so(tmp_path):
    with CpuLimit(0.25, tmp_path / "nowhere") as limit:
        limit.add(4711)

    assert not limit.works
    assert "not limited, as no control group could be made" in limit.describe()


def test_control_groups_without_a_cpu_controller_limit_nothing(tmp_path):
    """Version 2 without ``cpu`` in its subtree: the file cpu.max is not there."""
    with CpuLimit(0.5, tmp_path) as limit:
        assert "no cpu controller" in limit.describe()

    assert list(tmp_path.iterdir()) == []


def test_a_process_under_the_real_limit_gets_no_more_than_its_share():
    """Half a second of spinning at a tenth of a core: at most a tenth of it, and a period's quota, is computed."""
    with CpuLimit(0.1) as limit:
        if not limit.works:
            pytest.skip(limit.describe())
        spin = "import time; input(); began = time.monotonic(); cpu = time.process_time()\n"
        spin += "while time.monotonic() - began < 0.5: pass\nprint(time.process_time() - cpu, time.monotonic() - began)"
        child = subprocess.Popen([sys.executable, "-c", spin], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        limit.add(child.pid)
        computed_s, passed_s = map(float, child.communicate("\n")[0].split())

    assert computed_s <= 0.1 * passed_s + 0.005


def test_a_relay_that_is_told_nothing_more_ends():
    """The delay line and the proxy live as long as the process that started them, even one that was killed."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    args = [sys.executable, "-m", "eyewall.split.study.proxy", "127.0.0.1", str(port)]
    relay = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    relay.stdout.readline()
    relay.stdin.close()

    assert relay.wait(20) == 0
    relay.stdout.close()
    listener.close()
