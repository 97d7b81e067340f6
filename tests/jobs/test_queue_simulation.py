"""The benchmark's simulation, small: no GPU idles while a job waits that fits it, and nobody waits beyond the bound."""

# NOTE: injected by pytest, defined in conftest: server
import pytest

from benchmarks import job_queue
from eyewall.contracts.queueing import QueueSettings


@pytest.fixture
def quick(monkeypatch):
    """Jobs of minutes, not hours."""
    monkeypatch.setattr(
        job_queue, "durations_s", lambda count, seed: [60.0 + 37 * (n * seed % 11) for n in range(count)]
    )


def test_no_gpu_idles_while_a_job_waits_that_fits(server, quick):
    """Nothing reserved, and a dispatcher that takes no time: no GPU is idle that a job could have used."""
    rules = QueueSettings(reserved_share=0.0)

    found = job_queue.backlog(server, count=120, hosts=5, rules=rules, charged=False)

    assert found["jobs"] == 120
    assert found["idle_but_wanted_gpu_h"] == 0
    assert found["used_gpu_h"] > 1


def test_the_lowest_class_starts_within_its_bound_under_a_stream_of_the_highest(server, quick, monkeypatch):
    """The bound is 9 × 600 s + 300 s = 1 h 35 min; without ageing, the stream would go on for ever before it."""
    rules = QueueSettings(ageing_s=600, share_cap_s=300, share_penalty_s=60)
    monkeypatch.setattr(job_queue, "GPUS_OF_HOST", 2)

    found = job_queue.starvation(server, hosts=1, hours=2.7, rules=rules)

    assert found["lowest_class_jobs"] == 2
    assert found["bound_h"] == pytest.approx(5700 / 3600)
    assert 1 < found["longest_wait_h"] <= found["bound_h"]  # the first one found the cluster empty
