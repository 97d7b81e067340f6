"""The ConvLSTM over frames without a cadence: what is missing passes, ages and gaps count."""

from typing import Any

import numpy as np
import pytest
import tf_keras

from eyewall.models.convlstm import ConvLSTMEncoder


@pytest.fixture(scope="module")
def encoder() -> Any:
    """Of three frames of 16×16, with weights off their first values."""
    tf_keras.utils.set_random_seed(3)
    made = ConvLSTMEncoder(channels=(4, 4), width=6, name="encoder")
    made(*frames().values())
    rng = np.random.default_rng(3)
    made.set_weights([w + rng.normal(0, 0.1, w.shape) for w in made.get_weights()])
    return made


def frames(valid: tuple[float, ...] = (1, 1, 1), age_h: tuple[float, ...] = (11.0, 5.0, 0.5)) -> dict[str, Any]:
    """Two samples."""
    planes = np.random.default_rng(4).normal(0, 1, (2, 3, 16, 16, 2)).astype(np.float32)
    return {
        "planes": planes,
        "age_h": np.tile(np.float32(age_h), (2, 1)),
        "valid": np.tile(np.float32(valid), (2, 1)),
    }


@pytest.mark.parametrize("slot", [0, 1, 2])
def test_a_missing_frame_has_no_influence(encoder: Any, slot: int) -> None:
    """First, in between, or last: its pixels and its age may be anything, and the gap is that of its neighbours."""
    valid = tuple(float(i != slot) for i in range(3))
    given = frames(valid)
    noise = {name: np.array(values) for name, values in given.items()}
    noise["planes"][:, slot], noise["age_h"][:, slot] = 5.5, 77.0

    assert encoder(**noise).numpy() == pytest.approx(encoder(**given).numpy(), abs=1e-6)
    assert np.abs(encoder(**frames()) - encoder(**given)).max() > 1e-3


def test_ages_and_gaps_count(encoder: Any) -> None:
    """The same pictures an hour apart and five."""
    assert np.abs(encoder(**frames()) - encoder(**frames(age_h=(2.5, 1.5, 0.5)))).max() > 1e-3


def test_without_any_frame_it_says_nothing(encoder: Any) -> None:
    assert not encoder(**frames((0, 0, 0))).numpy().any()


def test_a_missing_frame_leaves_what_a_shorter_sequence_gives(encoder: Any) -> None:
    """Frames at the end of the axis, as records have them: slots before are as though they were not there."""
    given = frames((0, 1, 1))
    shorter = {name: values[:, 1:] for name, values in given.items()}

    assert encoder(**given).numpy() == pytest.approx(encoder(**shorter).numpy(), abs=1e-6)
