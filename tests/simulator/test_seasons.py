"""Which storms get pictures, and when: one Target Area, few days, nothing outside a storm's life."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyewall.contracts.errors import InputError
from eyewall.simulator.season import make_season, view_at


@given(seed=st.integers(0, 5000), imaged=st.integers(1, 3), cadence=st.sampled_from([60, 180, 360, 720]))
@settings(max_examples=12, deadline=None)
def test_imaged_storms_follow_one_another(seed: int, imaged: int, cadence: int):
    """Slots of a season never overlap, leave at most 36 h between storms, and lie in storms of 34 kt or more."""
    season = make_season(seed, 2010, 12, imaged, cadence_minutes=cadence, imaged_hours=96)
    assert len(season.imaged) == imaged
    assert len({storm.sid for storm in season.storms}) == 12
    for imaging in season.imaged:
        assert season.storms[imaging.storm.number - 1] is imaging.storm
        first, last = imaging.storm.strong()
        assert imaging.storm.times[first] <= imaging.slots[0]
        assert imaging.slots[-1] <= imaging.storm.times[last]
        assert len(imaging.slots) <= 96 * 60 // cadence + 1
        assert all(b - a == timedelta(minutes=cadence) for a, b in zip(imaging.slots, imaging.slots[1:], strict=False))
    for earlier, later in zip(season.imaged, season.imaged[1:], strict=False):
        gap = later.slots[0] - earlier.slots[-1]
        assert timedelta(hours=6) <= gap <= timedelta(hours=36)


def test_six_hourly_slots_are_the_times_of_fixes():
    """At 00, 06, 12 and 18 UTC the best track has a fix, and the clouds turn where it says, to within its error."""
    season = make_season(7, 2015, 12, 2)
    for imaging in season.imaged:
        storm = imaging.storm
        assert len(imaging.slots) == 18  # 102 h / 6 h + 1
        for slot in imaging.slots:
            i = storm.times.index(slot)
            view = view_at(storm, slot, 7)
            assert view.lat_deg == pytest.approx(storm.true_lat_deg[i])
            assert view.lat_deg == pytest.approx(storm.lat_deg[i], abs=0.4)
            assert view.outlook_m_s == pytest.approx(storm.outlook_m_s[i])


def test_pictures_do_not_change_the_other_storms():
    """Only the storms that had to move to follow another differ from the season without pictures."""
    plain, imaged = make_season(7, 2015, 12), make_season(7, 2015, 12, 2)
    moved = {i.storm.number for i in imaged.imaged}
    same = [a.sid == b.sid for a, b in zip(plain.storms, imaged.storms, strict=True) if a.number not in moved]
    assert len(same) == 10
    assert all(same)


def test_too_many_imaged_storms_are_refused():
    """The sentence says how many there are and what to change."""
    with pytest.raises(InputError, match=r"season 2015 has only \d+ storms .* 3 are wanted: ask for fewer"):
        make_season(7, 2015, 2, imaged_storms=3)
