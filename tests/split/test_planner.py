"""The planner: closed form against brute force, break-evens, the accuracy limit, and what it refuses."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyewall.contracts.errors import ContractError
from eyewall.contracts.split import Option, Plan, Profile
from eyewall.split import planner
from eyewall.split.planner import break_evens, frame_s, interval_s, pair_break_even, plan, stall_s

CLIENT = Option(place="client", head_s=0.100, tail_s=0, bytes_up=0, bytes_down=0)
CLOUD = Option(place="cloud", head_s=0, tail_s=0.002, bytes_up=3_000, bytes_down=0)
SPLIT = Option(cut="pool2", channels=8, wire="int8", head_s=0.020, tail_s=0.001, bytes_up=500, bytes_down=0, loss=0.6)


def profile(*options: Option) -> Profile:
    return Profile(model="m", loss_unit="points", options=options)


def test_the_time_is_head_link_and_tail():
    # 500 B · 8 / 1 Mbit/s = 4 ms; 20 + 4 + 50 + 1 = 75 ms
    assert frame_s(SPLIT, 1e6, 0.050) == pytest.approx(0.075)
    # nothing is sent: no link in it
    assert frame_s(CLIENT, 1e6, 0.050) == pytest.approx(0.100)


@pytest.mark.parametrize(
    ("bandwidth_bps", "rtt_s", "best"),
    [
        pytest.param(1e9, 0.001, "cloud", id="fast link: 3.0 ms against 22.0"),
        pytest.param(1e6, 0.001, "pool2/8/int8", id="slow link: 4 + 22 ms against 24 + 3"),
        pytest.param(1e9, 0.200, "client", id="far away: 100 ms against 203"),
        pytest.param(1e4, 0.001, "client", id="hardly a link: 100 ms against 422"),
    ],
)
def test_each_of_the_three_places_wins_where_it_should(bandwidth_bps, rtt_s, best):
    assert plan(profile(CLIENT, CLOUD, SPLIT), bandwidth_bps, rtt_s).option.name == best


def test_the_break_even_of_cloud_and_split_is_where_the_saved_bytes_pay_for_the_head():
    # 2500 B · 8 / b = 20 ms - 1 ms  →  b = 20000 / 0.019
    (change,) = pair_break_even(CLOUD, SPLIT, 0.001)

    assert change.bandwidth_bps == pytest.approx(20_000 / 0.019)
    assert (change.below, change.above) == ("pool2/8/int8", "cloud")


def test_an_option_that_loses_too_much_is_not_taken_however_fast():
    assert plan(profile(CLIENT, CLOUD, SPLIT), 1e6, 0.001, max_accuracy_loss=0.5).option.name == "cloud"
    assert plan(profile(CLIENT, CLOUD, SPLIT), 1e6, 0.001, max_accuracy_loss=0.6).option.name == "pool2/8/int8"


def test_when_no_option_is_good_enough_the_best_loss_is_named():
    with pytest.raises(ContractError, match=r"pool2/8/int8 loses least, 0\.6 points"):
        plan(profile(SPLIT), 1e6, 0.001, max_accuracy_loss=0.1)


@pytest.mark.parametrize(
    ("bandwidth_bps", "rtt_s"),
    [
        pytest.param(0.0, 0.1, id="no bandwidth"),
        pytest.param(-1e6, 0.1, id="negative"),
        pytest.param(math.nan, 0.1, id="not a number"),
        pytest.param(1e6, -0.1, id="an answer before the question"),
        pytest.param(1e6, math.inf, id="never"),
    ],
)
def test_what_is_no_link_is_refused(bandwidth_bps, rtt_s):
    with pytest.raises(ContractError, match="no link has"):
        plan(profile(CLIENT, CLOUD), bandwidth_bps, rtt_s)


def test_equal_times_are_told_apart_by_loss_then_bytes_then_name():
    twin = SPLIT.model_copy(update={"cut": "conv2", "loss": 0.1})

    assert plan(profile(SPLIT, twin), 1e6, 0.001).option.name == "conv2/8/int8"
    assert plan(profile(twin, SPLIT), 1e6, 0.001).option.name == "conv2/8/int8"


def test_a_plan_without_a_limit_survives_json():
    whole = plan(profile(CLIENT, CLOUD, SPLIT), 1e6, 0.001)

    assert Plan.model_validate_json(whole.model_dump_json()) == whole


def test_a_pipeline_answers_as_often_as_its_slowest_part():
    # 500 B take 4 ms at 1 Mbit/s, the head 20 ms; at 100 kbit/s the link takes 40 ms
    assert interval_s(SPLIT, 1e6) == pytest.approx(0.020)
    assert interval_s(SPLIT, 1e5) == pytest.approx(0.040)


def test_a_message_longer_than_the_window_waits_for_acknowledgements():
    # 100 kB with windows of 20, 40, 80 kB: two waits. At 8 Mbit/s a window of 20 kB takes 20 ms, one of 40 kB 40 ms:
    # 200 - 20 and 200 - 40 ms.
    assert stall_s(100_000, 8e6, 0.200, window_bytes=20_000) == pytest.approx(0.340)
    # a window that covers bandwidth × rtt never waits
    assert stall_s(100_000, 8e6, 0.020, window_bytes=20_000) == pytest.approx(0)
    assert stall_s(20_000, 8e6, 0.200, window_bytes=20_000) == 0


def simulated_transfer_s(size: int, bandwidth_bps: float, rtt_s: float, window: int) -> float:
    """When the last byte is sent, by playing the windows on a clock: send one, wait for its first byte's answer."""
    clock = 0.0
    while size > window:
        clock += max(window * 8 / bandwidth_bps, rtt_s)
        size -= window
        window *= 2
    return clock + size * 8 / bandwidth_bps


sizes = st.integers(0, 2_000_000)
times = st.floats(0, 2, allow_subnormal=False)
losses = st.floats(0, 5)
rtts = st.floats(0, 0.6)
bandwidths = st.floats(3, 10).map(lambda exponent: 10**exponent)


@st.composite
def options(draw: st.DrawFn) -> list[Option]:
    found = [
        Option(place="client", head_s=draw(times), tail_s=0, bytes_up=0, bytes_down=0),
        Option(place="cloud", head_s=0, tail_s=draw(times), bytes_up=draw(sizes), bytes_down=draw(st.integers(0, 999))),
    ]
    for number in range(draw(st.integers(0, 6))):
        cut, up, down = f"cut{number}", draw(sizes), draw(st.integers(0, 999))
        split = Option(cut=cut, wire="int8", head_s=draw(times), tail_s=draw(times), bytes_up=up, bytes_down=down)
        found.append(split.model_copy(update={"loss": draw(losses)}))
    return found


@settings(deadline=None)
@given(size=sizes, bandwidth_bps=bandwidths, rtt_s=rtts, window=st.integers(1_000, 200_000))
def test_stalls_are_what_playing_the_windows_on_a_clock_gives(size, bandwidth_bps, rtt_s, window):
    closed = size * 8 / bandwidth_bps + stall_s(size, bandwidth_bps, rtt_s, window)

    assert closed == pytest.approx(simulated_transfer_s(size, bandwidth_bps, rtt_s, window))


@settings(deadline=None)
@given(found=options(), bandwidth_bps=bandwidths, rtt_s=rtts, limit=losses)
def test_the_choice_is_the_fastest_of_all_that_lose_no_more_than_allowed(found, bandwidth_bps, rtt_s, limit):
    chosen = plan(profile(*found), bandwidth_bps, rtt_s, limit)

    good = [option for option in found if option.loss <= limit]
    assert chosen.option in good
    assert chosen.expected_s == min(frame_s(option, bandwidth_bps, rtt_s) for option in good)


@settings(deadline=None, max_examples=60)
@given(found=options(), rtt_s=rtts, window=st.integers(1_000, 200_000))
def test_between_two_break_evens_the_option_named_is_the_fastest_at_every_bandwidth(found, rtt_s, window):
    """Brute force over 400 bandwidths: the envelope's option costs what the best one does."""
    by_name = {option.name: option for option in found}
    changes = break_evens(found, rtt_s, window)
    everywhere = min(found, key=lambda option: frame_s(option, 1e6, rtt_s, window)).name

    assert [c.bandwidth_bps for c in changes] == sorted(c.bandwidth_bps for c in changes)
    assert all(one.above == two.below for one, two in itertools.pairwise(changes))
    for step in range(400):
        bandwidth_bps = 10 ** (3.01 + step * 8.98 / 400)
        costs = {name: frame_s(option, bandwidth_bps, rtt_s, window) for name, option in by_name.items()}
        below = [c.above for c in changes if c.bandwidth_bps <= bandwidth_bps]
        above = [c.below for c in changes if c.bandwidth_bps > bandwidth_bps]
        named = below[-1] if below else above[0] if above else everywhere
        assert costs[named] <= min(costs.values()) * (1 + 1e-6) + 1e-9


@settings(deadline=None)
@given(found=options(), rtt_s=rtts)
def test_a_faster_link_is_never_slower(found, rtt_s):
    whole = profile(*found)
    times_s = [plan(whole, 10**exponent, rtt_s).expected_s for exponent in (4, 5.5, 7, 8.5, 10)]

    assert times_s == sorted(times_s, reverse=True)


def test_an_idle_connection_begins_with_ten_segments():
    """RFC 6928; 1448 bytes each, with time stamps at an MTU of 1500."""
    assert planner.IDLE_WINDOW_BYTES == 10 * (1500 - 20 - 20 - 12)


def test_a_frame_now_and_then_is_later_than_one_of_a_stream():
    """280 kB at 100 Mbit/s and 200 ms: windows of 14,480 · (1 + 2 + 4 + 8) = 217,200 bytes go before the last.

    Four waits of 200 ms, less what sending them takes: 217,200 · 8 / 1e8 = 17.4 ms.
    """
    large = CLOUD.model_copy(update={"bytes_up": 280_000})

    in_use, idle = (frame_s(large, 1e8, 0.2, window) for window in (planner.WINDOW_BYTES, planner.IDLE_WINDOW_BYTES))

    assert in_use == pytest.approx(0.002 + 0.0224 + 0.2)
    assert idle - in_use == pytest.approx(4 * 0.2 - 0.017376)
