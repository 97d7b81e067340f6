"""A slot waits while something may come, goes on without what is only wanted, and stops without what is critical."""

from datetime import timedelta

import pytest
from satellite_files import SLOT

from eyewall.contracts.errors import InputError, NothingNew
from eyewall.satellite.formats import NameFacts
from eyewall.satellite.slots import Candidate, Gate, group
from eyewall.satellite.sources import Found

EARLY, LATE = SLOT + timedelta(minutes=8), SLOT + timedelta(minutes=25)
GATE = Gate(frozenset({2, 3, 4}), frozenset({3}), timedelta(minutes=20))


def test_a_complete_slot_never_waits() -> None:
    GATE.judge(frozenset({2, 3, 4}), SLOT, EARLY)


def test_a_young_slot_with_something_missing_waits() -> None:
    with pytest.raises(NothingNew, match="segments 3, 4 are missing 8 min after the slot: they may come until 20 min"):
        GATE.judge(frozenset({2}), SLOT, EARLY)


def test_an_old_slot_goes_on_without_a_wanted_segment() -> None:
    GATE.judge(frozenset({3}), SLOT, LATE)


def test_an_old_slot_without_a_critical_segment_is_refused() -> None:
    with pytest.raises(InputError, match="critical segments 3 are missing"):
        GATE.judge(frozenset({2, 4}), SLOT, LATE)


def test_a_prologue_that_is_lacking_is_waited_for_and_then_refuses_the_slot() -> None:
    lacking = frozenset({"HRIT_PRO"})
    with pytest.raises(NothingNew, match="files HRIT_PRO are missing 8 min"):
        GATE.judge(frozenset({2, 3, 4}), SLOT, EARLY, lacking)
    with pytest.raises(InputError, match="HRIT_PRO is missing: no segment can be read without it"):
        GATE.judge(frozenset({2, 3, 4}), SLOT, LATE, lacking)


def test_without_a_limit_there_is_no_waiting() -> None:
    Gate(frozenset({2, 3}), frozenset(), None).judge(frozenset({2}), SLOT, SLOT)


def test_files_are_grouped_by_time_and_part_in_order() -> None:
    def candidate(name: str, minutes: int, part: str) -> Candidate:
        facts = NameFacts(SLOT + timedelta(minutes=minutes), part, segment=1, segments=10)
        return Candidate(Found(name, f"/in/{name}"), facts)

    slots = group([candidate("c", 10, ""), candidate("a", 0, "R3"), candidate("b", 0, ""), candidate("d", 10, "")])

    assert [(str(slot), [c.found.name for c in slot.candidates]) for slot in slots] == [
        ("2020-09-05 00:00:00 UTC", ["b"]),
        ("2020-09-05 00:00:00 UTC (R3)", ["a"]),
        ("2020-09-05 00:10:00 UTC", ["c", "d"]),
    ]
    assert slots[0].segment_count == 10
