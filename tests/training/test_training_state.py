"""Checkpoints: whole or not there, and of this job or refused."""

from pathlib import Path

import numpy as np
import pytest

from eyewall.contracts.errors import ContractError
from eyewall.storage import Store
from eyewall.training.state import Run, TrainingState
from eyewall.training.validation import Skill

SKILL = Skill(
    shrinkage=np.array([0.1, 0.2, 0.3, 0.4, 0.0]),
    model_km=np.array([30.0, 70.5, 180.0, 440.0, np.nan]),
    cliper_km=np.array([33.0, 75.0, 190.0, 470.0, np.nan]),
    n=np.array([9, 9, 8, 7, 0]),
)


def state(step: int = 3) -> TrainingState:
    """A run after a few steps."""
    rng = np.random.default_rng(step)
    arrays = [rng.normal(size=(4, 3)).astype(np.float32), rng.normal(size=5).astype(np.float32)]
    return TrainingState(
        step=step,
        weights=arrays,
        optimizer=[np.int64(step), *arrays],
        best_weights=[a + 1 for a in arrays],
        best_step=2,
        best_skill=SKILL,
        losses=[0.9 / (i + 1) for i in range(step)],
        validations=[[2.0, 0.93, 30.0, 70.5, 180.0, 440.0, float("nan")]],
    )


@pytest.fixture
def run(store_url: str) -> Run:
    """An empty run."""
    return Run(Store(store_url), "r1")


def files(run: Run) -> list[Path]:
    """Its checkpoints on disk."""
    return sorted(run.store.local(run.folder).glob("step-*.npz"))


def test_a_checkpoint_reads_back_as_written(run: Run) -> None:
    """Every array, bit for bit, and every number."""
    run.save(state())
    got = run.load()

    assert got is not None
    for group in ("weights", "optimizer", "best_weights"):
        pairs = zip(getattr(got, group), getattr(state(), group), strict=True)
        assert all(a.tobytes() == b.tobytes() and a.dtype == b.dtype for a, b in pairs)
    assert (got.step, got.best_step, got.losses) == (3, 2, state().losses)
    assert got.best_skill.shrinkage.tolist() == SKILL.shrinkage.tolist()
    assert got.best_skill.n.tolist() == SKILL.n.tolist()
    assert got.best_skill.score == SKILL.score
    assert np.array_equal(got.validations, state().validations, equal_nan=True)


def test_an_empty_run_has_no_checkpoint(run: Run) -> None:
    """None, not an error."""
    assert run.load() is None


def test_the_newest_is_loaded_and_two_are_kept(run: Run) -> None:
    """Also past 10: names sort by number."""
    for step in (1, 2, 9, 10, 11):
        run.save(state(step))

    assert [p.name for p in files(run)] == ["step-00000010.npz", "step-00000011.npz"]
    loaded = run.load()
    assert loaded is not None
    assert loaded.step == 11


@pytest.mark.parametrize("damage", ["cut short", "bit flipped", "emptied"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(run: Run, damage: str) -> None:
    """Each member carries a checksum: a flipped bit in the weights is found, not trained on."""
    run.save(state(5))
    run.save(state(6))
    newest = files(run)[-1]
    data = bytearray(newest.read_bytes())
    if damage == "bit flipped":
        data[data.index(state(6).weights[0].tobytes()) + 7] ^= 0x10
    newest.write_bytes({"cut short": data[: len(data) // 2], "emptied": b""}.get(damage, bytes(data)))

    loaded = run.load()

    assert loaded is not None
    assert loaded.step == 5


def test_a_half_written_checkpoint_is_invisible(run: Run) -> None:
    """What a kill in the middle of a write leaves behind: the temporary file."""
    run.save(state(5))
    (run.store.local(run.folder) / ".step-00000006.npz.0badc0de.tmp").write_bytes(b"PK\x03\x04 half")

    loaded = run.load()

    assert loaded is not None
    assert loaded.step == 5


def test_a_run_belongs_to_one_job(run: Run) -> None:
    """The same job again is welcome; another one is told what differs."""
    run.claim("d1", {"steps": 10, "batch": 8})
    run.claim("d1", {"steps": 10, "batch": 8})

    with pytest.raises(ContractError, match=r"run 'r1' belongs to another training \(steps is 10, not 20\)"):
        run.claim("d2", {"steps": 20, "batch": 8})


def test_checkpoints_work_on_an_object_store(tmp_path: Path) -> None:
    """Nothing but PUT, GET and LIST is asked of it."""
    run = Run(Store(f"memory://{tmp_path.name}/store"), "r1")
    for step in (1, 2, 3):
        run.save(state(step))

    loaded = run.load()

    assert loaded is not None
    assert loaded.step == 3
