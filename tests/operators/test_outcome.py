"""What of a step's summary goes to XCom."""

from operators.outcome import small


def test_only_numbers_flags_and_short_texts_are_small():
    summary = {
        "n": 3,
        "km": 1.5,
        "ok": True,
        "none": None,
        "path": "a/b",
        "leads": {"24": 1},
        "list": [1],
        "long": "x" * 301,
    }

    assert small(summary) == {"n": 3, "km": 1.5, "ok": True, "none": None, "path": "a/b"}
