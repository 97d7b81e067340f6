"""The rules of the queue: what the table [queue] may say."""

from datetime import timedelta

import pytest

from eyewall.contracts.errors import ContractError
from eyewall.contracts.queueing import QueueSettings
from eyewall.contracts.settings import Settings


def settings_of(tmp_path, text):
    """The settings of a file that holds ``text``."""
    (tmp_path / "eyewall.toml").write_text(text)
    return Settings.load({"EYEWALL_SETTINGS": str(tmp_path / "eyewall.toml")})


def test_the_settings_file_has_the_rules(tmp_path):
    rules = settings_of(tmp_path, "[queue]\nageing_s = 600\nreserved_share = 0.5\n").queue

    assert (rules.ageing_s, rules.reserved_share, rules.lease_s) == (600, 0.5, 30)
    assert rules.bound_s == 9 * 600 + 6 * 3600


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        pytest.param("heartbeat_s = 20", "heartbeat_s = 20 does not fit twice into lease_s = 30", id="late-heartbeat"),
        pytest.param("ageing_s = -1", "queue.ageing_s = -1", id="negative"),
        pytest.param("reserved_share = 1.5", "queue.reserved_share = 1.5", id="more-than-all"),
        pytest.param("weights = 3", "queue.weights", id="unknown"),
    ],
)
def test_a_rule_that_cannot_be_is_named_with_its_value(tmp_path, line, sentence):
    with pytest.raises(ContractError, match=sentence):
        settings_of(tmp_path, f"[queue]\n{line}\n")


def test_columns_are_those_of_the_table():
    columns = QueueSettings(retry_s=7).columns()

    assert columns["retry"] == timedelta(seconds=7)
    assert columns["reserved_share"] == 0.01
    assert set(columns) == {
        "ageing", "share_penalty", "share_cap", "lease", "heartbeat", "retry", "reserve_after", "reserved_share",
    }  # fmt: skip
