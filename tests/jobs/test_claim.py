"""Who gets a free GPU: the order of the queue, what fits where, and what is not offered."""

# NOTE: injected by pytest, defined in conftest: cluster, url
import random

import psycopg
import pytest

from eyewall.jobs import claim, queue, workers
from eyewall.jobs.runner import Found

# ---- what a claim is


def test_a_claim_holds_all_that_a_runner_needs(cluster):
    cluster.worker("node", gpus=2)
    job = cluster.submit(
        command=["python", "train.py", "--name", "a b; rm -rf /", "%s"], gpus=2, variables={"LR": "0.01"},
        code="code/x", data=["frames/h9"], max_hours=1.5,
    )  # fmt: skip

    got = cluster.claim()

    assert (got.job, got.number, got.token, got.worker.name, got.worker.kind) == (job, 1, 1, "node", "docker")
    assert got.command == ("python", "train.py", "--name", "a b; rm -rf /", "%s")
    assert [(gpu.number, gpu.uuid, gpu.memory_mb) for gpu in got.gpus] == [(0, "node-0", 40960), (1, "node-1", 40960)]
    assert (got.code, got.data, got.variables, got.max_s) == ("code/x", ("frames/h9",), {"LR": "0.01"}, 5400)
    assert got.image is not None
    assert got.name == f"eyewall-job-{job}-1"
    assert cluster.state(job) == "running"
    assert cluster.claim() is None


def test_an_attempt_on_a_process_worker_names_no_image(cluster):
    """Though its environment has one for containers as well."""
    cluster.environment("mine", image="x@sha256:" + "ab" * 32, folder="/srv")
    cluster.worker("desk", gpus=1, kind="process")
    cluster.submit(environment="mine")

    got = cluster.claim()

    assert (got.image, got.folder) == (None, "/srv")
    assert cluster.one("SELECT image FROM attempt WHERE id = %s", got.attempt) is None


def test_an_attempt_runs_the_image_of_its_claim(cluster):
    """An environment that is built anew meanwhile does not change what an attempt runs."""
    cluster.worker("node", gpus=1)
    cluster.submit()
    got = cluster.claim()

    cluster.connection.execute("UPDATE environment SET image = replace(image, 'ab', 'ef')")

    assert claim.assignment(cluster.connection, got.attempt).image == got.image


# ---- order


def test_first_come_first_served_within_a_priority(cluster):
    cluster.worker("node", gpus=3)
    jobs = [cluster.submit() for _ in range(3)]

    assert cluster.claimed() == jobs


def test_a_higher_priority_goes_first(cluster):
    cluster.worker("node", gpus=3)
    low, usual, high = (cluster.submit(priority=priority) for priority in (0, 5, 9))

    assert cluster.claimed() == [high, usual, low]


def test_a_step_of_priority_is_a_head_start_of_one_ageing_interval(cluster):
    """Priority 3 that waited 2.1 h is ahead of priority 5 (2 steps of 1 h), priority 3 that waited 1.9 h behind it."""
    cluster.worker("node", gpus=3)
    fresh, old, new = cluster.submit(priority=5), cluster.submit(priority=3), cluster.submit(priority=3)
    cluster.age(old, 2.1)
    cluster.age(new, 1.9)

    assert cluster.claimed() == [old, fresh, new]


def test_who_has_many_gpus_is_put_back(cluster):
    """Ann has 3 GPUs: 3 × 5 min. Her job, 10 min older than Bob's, is behind it; 20 min older, it is ahead."""
    cluster.worker("node", gpus=3)
    for _ in range(3):
        cluster.submit(owner="ann")
    cluster.claimed()
    cluster.worker("spare", gpus=3)
    cluster.connection.execute("UPDATE worker SET state = 'draining' WHERE name = 'node'")
    younger, older, bobs = (cluster.submit(owner=owner) for owner in ("ann", "ann", "bob"))
    cluster.age(younger, 10 / 60)
    cluster.age(older, 20 / 60)

    # After the first claim Ann has 4 GPUs: 20 min, so that Bob's is next, and her other one last.
    assert cluster.claimed() == [older, bobs, younger]


def test_fair_share_is_capped_so_that_waiting_is_bounded(cluster):
    """100 GPUs × 5 min = 8 h 20 min, but no more than 6 h count: Ann's job of 6 h 10 min ago is ahead of Bob's."""
    cluster.worker("node", gpus=100)
    for _ in range(100):
        cluster.submit(owner="ann")
    cluster.claimed()
    cluster.worker("spare", gpus=2)
    old, late, bobs = (cluster.submit(owner=owner) for owner in ("ann", "ann", "bob"))
    cluster.age(old, 6 + 10 / 60)
    cluster.age(late, 5 + 50 / 60)

    assert cluster.claimed() == [old, bobs]


def test_a_head_that_does_not_fit_holds_nobody_up(cluster):
    cluster.worker("node", gpus=2)
    cluster.worker("other", gpus=1, generation="h100")
    waits = cluster.submit(generations=["h100"], priority=9, gpus=1)
    stuck = cluster.submit(generations=["h100"], priority=9)
    small = cluster.submit(priority=0)

    assert cluster.claimed() == [waits, small]
    assert cluster.state(stuck) == "queued"


# ---- what fits


@pytest.mark.parametrize(
    ("fields", "fits"),
    [
        pytest.param({}, True, id="no-demand"),
        pytest.param({"generations": ["a100"]}, True, id="its-generation"),
        pytest.param({"generations": ["h100", "a100"]}, True, id="one-of-two"),
        pytest.param({"generations": ["h100"]}, False, id="another-generation"),
        pytest.param({"memory_gb": 40}, True, id="as-much-memory"),
        pytest.param({"memory_gb": 40.5}, False, id="more-memory"),
        pytest.param({"gpus": 2}, True, id="as-many"),
        pytest.param({"gpus": 3}, False, id="more-than-are-free"),
    ],
)
def test_a_gpu_fits_by_generation_memory_and_number(cluster, fields, fits):
    cluster.worker("node", gpus=3)
    cluster.worker("large", gpus=3, generation="h100", memory_gb=80)  # drained below: it only lets the demand in
    cluster.claimed()
    cluster.submit()
    cluster.connection.execute("UPDATE worker SET state = 'draining' WHERE name = 'large'")
    cluster.claimed()  # one of node's three is taken
    job = cluster.submit(**fields)

    got = cluster.claim()

    assert (got is not None and got.job == job) == fits


def test_who_takes_an_attempt_over_is_told_what_its_claim_said(cluster):
    cluster.worker("node", gpus=3)
    cluster.nodes("cluster", a=2)
    cluster.submit(gpus=3, variables={"A": "b"}, priority=8, code="c", data=["d"], max_hours=1)
    cluster.submit()

    for got in (cluster.claim(), cluster.claim()):
        assert got == claim.assignment(cluster.connection, got.attempt)


def test_a_gang_is_on_one_host(cluster):
    """Two hosts with two free GPUs each: 4 in all, but a job of 3 has to wait for one host."""
    for name in ("a", "b"):
        cluster.worker(name, gpus=3)
    first, second = cluster.submit(owner="x"), cluster.submit(owner="y")
    placed = [cluster.claim().worker.name for _ in (first, second)]
    cluster.connection.execute("UPDATE queue_policy SET reserve_after = '1 day'")
    gang = cluster.submit(gpus=3)

    assert placed == ["a", "a"]  # packed, so that the other host stays whole
    assert {gpu.uuid[0] for gpu in cluster.claim().gpus} == {"b"}
    assert cluster.state(gang) == "running"


def test_on_a_cluster_a_gang_is_on_one_node(cluster):
    """6 GPUs are free, but 3 of them in one node: the second gang of 3 waits, though two nodes have 3 together."""
    cluster.nodes("cluster", a=2, b=3, c=1)
    gang, other = cluster.submit(gpus=3, owner="x"), cluster.submit(gpus=3, owner="y")

    assert {gpu.uuid.split("/")[1] for gpu in cluster.claim().gpus} == {"b"}
    assert cluster.claim() is None
    assert cluster.why(other) == "no worker has 3 GPUs free on one host"
    cluster.end(gang)
    assert cluster.claimed() == [other]


def test_on_a_cluster_small_jobs_fill_one_node_before_the_next(cluster):
    cluster.nodes("cluster", a=3, b=2)
    for owner in "xyz":
        cluster.submit(owner=owner)

    placed = [cluster.claim().gpus[0].uuid.split("/")[1] for _ in range(3)]

    assert placed == ["b", "b", "a"]  # the one with fewer left first


def test_a_gang_may_mix_generations_that_it_named(cluster):
    cluster.worker("mixed", gpus=1)
    cluster.found("mixed", [("a100", 40, "ok"), ("v100", 16, "ok"), ("h100", 80, "ok")])
    cluster.submit(gpus=2, generations=["a100", "h100"])

    assert [gpu.number for gpu in cluster.claim().gpus] == [0, 2]


def test_the_smallest_gpu_that_will_do_is_taken(cluster):
    cluster.worker("big", gpus=1, generation="h100", memory_gb=80)
    cluster.worker("small", gpus=1, generation="v100", memory_gb=16)
    cluster.submit()

    assert cluster.claim().worker.name == "small"


@pytest.mark.parametrize(
    ("kind", "image", "folder", "fits"),
    [
        pytest.param("docker", "x@sha256:" + "ab" * 32, None, True, id="container-image"),
        pytest.param("docker", None, "/srv", False, id="container-without-image"),
        pytest.param("kubernetes", "x@sha256:" + "ab" * 32, None, True, id="pod-image"),
        pytest.param("process", None, "/srv", True, id="process-folder"),
        pytest.param("process", "x@sha256:" + "ab" * 32, None, False, id="process-without-folder"),
    ],
)
def test_an_environment_must_be_built_for_the_kind_of_worker(cluster, kind, image, folder, fits):
    cluster.environment("mine", image=image, folder=folder)
    cluster.worker("node", gpus=1, kind=kind)
    cluster.submit(environment="mine")

    assert (cluster.claim() is not None) == fits


@pytest.mark.parametrize("state", ["listed", "building", "failed"])
def test_an_environment_that_is_not_built_runs_nothing(cluster, state):
    cluster.environment("mine", state, image="x@sha256:" + "ab" * 32)
    cluster.worker("node", gpus=1)
    cluster.submit(environment="mine")

    assert cluster.claim() is None
    cluster.connection.execute("UPDATE environment SET state = 'built'")
    assert cluster.claim() is not None


# ---- what is not offered


@pytest.mark.parametrize("state", ["draining", "unreachable", "removed"])
def test_only_workers_that_are_up_are_offered_jobs(cluster, state):
    cluster.worker("node", gpus=1)
    cluster.submit()
    workers.set_worker_state(cluster.connection, "node", state, "because")

    assert cluster.claim() is None
    workers.set_worker_state(cluster.connection, "node", "up")
    assert cluster.claim() is not None


@pytest.mark.parametrize("state", ["failed", "foreign"])
def test_a_gpu_that_is_ill_or_somebody_elses_is_not_offered(cluster, state):
    cluster.worker("node", gpus=2)
    cluster.found("node", [("a100", 40, state), ("a100", 40, "ok")])
    jobs = [cluster.submit(), cluster.submit()]

    assert [gpu.number for gpu in cluster.claim().gpus] == [1]
    assert cluster.claim() is None
    cluster.found("node", [("a100", 40, "ok"), ("a100", 40, "ok")])
    assert cluster.claimed() == jobs[1:]


def test_a_gpu_that_a_probe_does_not_find_is_gone_and_comes_back(cluster):
    cluster.worker("node", gpus=2)
    cluster.found("node", [("a100", 40, "ok")])
    jobs = [cluster.submit(), cluster.submit()]

    assert cluster.claimed() == jobs[:1]
    cluster.found("node", [("a100", 40, "ok")] * 2)
    assert cluster.claimed() == jobs[1:]


def test_a_dispatcher_claims_only_for_workers_in_its_reach(cluster):
    cluster.worker("mine", gpus=1)
    cluster.worker("theirs", gpus=1)
    cluster.submit()
    cluster.submit()

    assert cluster.claim(workers=["mine"]).worker.name == "mine"
    assert cluster.claim(workers=["mine"]) is None
    assert cluster.claim(workers=[]) is None


def test_a_job_that_is_to_wait_is_not_due(cluster):
    cluster.worker("node", gpus=1)
    waits = cluster.submit()
    due = cluster.submit()
    cluster.connection.execute("UPDATE job SET not_before = clock_timestamp() + '1 hour' WHERE id = %s", (waits,))

    assert cluster.claimed() == [due]


# ---- hosts kept for gangs


def crowded(cluster):
    """A host of two GPUs with a job on each, and a gang of two that has waited for an hour."""
    cluster.worker("node", gpus=2)
    small = [cluster.submit(owner="small") for _ in range(2)]
    assert cluster.claimed() == small
    gang = cluster.submit(gpus=2, owner="gang")
    cluster.age(gang, 1)
    return small, gang


def test_small_jobs_do_not_starve_a_gang(cluster):
    """The first GPU that is free goes to nobody behind the gang, and with the second one the gang starts."""
    small, gang = crowded(cluster)
    behind = [cluster.submit(owner="small") for _ in range(3)]

    cluster.end(small[0])
    assert cluster.claimed() == []
    assert cluster.why(gang) == "host node is being emptied for it"
    assert cluster.why(behind[0]) == f"free ones are kept for job {gang}"
    cluster.end(small[1])
    assert cluster.claimed() == [gang]
    assert cluster.one("SELECT reserved_for FROM worker") is None
    cluster.end(gang)
    assert cluster.claimed() == behind[:2]


def test_a_gang_reserves_nothing_before_it_is_its_turn(cluster):
    """A job that is older than the gang goes first, and so does one whose priority makes up for its age."""
    small, gang = crowded(cluster)
    older, urgent = cluster.submit(owner="a"), cluster.submit(owner="b", priority=7)
    cluster.age(older, 2)

    cluster.end(small[0])
    cluster.end(small[1])

    assert cluster.claimed() == [older, urgent]
    assert cluster.one("SELECT reserved_for FROM worker") is None
    assert cluster.state(gang) == "queued"


def test_a_gang_that_has_not_waited_long_reserves_nothing(cluster):
    small, gang = crowded(cluster)
    cluster.age(gang, -0.75)  # 15 min, less than the 30 of the policy
    behind = cluster.submit(owner="small")

    cluster.end(small[0])

    assert cluster.claimed() == [behind]


def test_of_a_cluster_one_node_is_emptied_for_a_gang_and_the_others_go_on(cluster):
    cluster.nodes("cluster", a=2, b=2)
    small = [cluster.submit(owner="small") for _ in range(4)]
    assert cluster.claimed() == small
    gang = cluster.submit(gpus=2, owner="gang")
    cluster.age(gang, 1)
    behind = [cluster.submit(owner="small") for _ in range(3)]

    cluster.end(small[0])  # they fill a first, then b
    assert cluster.claimed() == []
    assert cluster.why(gang) == "host cluster/a is being emptied for it"
    kept = "SELECT reserved_for FROM gpu_occupancy WHERE host = %s AND number = %s"
    assert [cluster.one(kept, *of) for of in (("a", 0), ("b", 2))] == [gang, None]
    cluster.end(small[2])
    assert cluster.claimed() == behind[:1]
    slots = [("any/a/0", "ok"), ("any/a/1", "ok"), ("any/b/0", "failed"), ("any/b/1", "ok")]
    found = [Found(n, u, "", "any", 40960, s, "", False, u.split("/")[1]) for n, (u, s) in enumerate(slots)]
    workers.record_gpus(cluster.connection, "cluster", found)  # what fails on b does not concern a
    assert cluster.one("SELECT reserved_for FROM worker") == gang
    cluster.end(small[1])
    assert cluster.claimed() == [gang]
    assert cluster.one("SELECT reserved_for FROM worker") is None


@pytest.mark.parametrize("what", ["cancelled", "unreachable", "failed"])
def test_a_reservation_does_not_outlive_its_reason(cluster, what):
    """The gang is cancelled; the host is out of reach; a GPU of it fails: others may have what is free."""
    small, gang = crowded(cluster)
    cluster.end(small[0])
    behind = cluster.submit(owner="small")
    assert cluster.claimed() == []

    if what == "cancelled":
        queue.cancel(cluster.connection, gang, "ann")
    elif what == "unreachable":
        workers.set_worker_state(cluster.connection, "node", "unreachable")
        workers.set_worker_state(cluster.connection, "node", "up")
    else:
        held = cluster.one("SELECT number FROM gpu WHERE held_by IS NOT NULL")
        cluster.found("node", [("a100", 40, "failed" if number == held else "ok") for number in range(2)])

    assert cluster.one("SELECT reserved_for FROM worker") is None
    if what != "unreachable":  # there the gang is reserved the host again, as it should
        assert cluster.claimed() == [behind]


def test_no_more_hosts_are_emptied_at_once_than_the_policy_says(cluster):
    """1 % of 2 hosts, rounded up, is one host: the second gang has to wait for the first."""
    for name in ("a", "b"):
        cluster.worker(name, gpus=2)
    small = [cluster.submit(owner="small") for _ in range(4)]
    cluster.claimed()
    for owner in ("x", "y"):
        cluster.age(cluster.submit(gpus=2, owner=owner), 1)
    behind = [cluster.submit(owner="small") for _ in range(3)]
    for job in (small[0], small[2]):  # one of each host
        cluster.end(job)

    assert cluster.claimed() == behind[:1]
    assert cluster.one("SELECT count(*) FROM worker WHERE reserved_for IS NOT NULL") == 1


# ---- hands of others


def test_what_somebody_holds_in_psql_is_passed_over(cluster, url):
    """A row locked in a session that was left open stops neither the other jobs nor the other GPUs."""
    cluster.worker("node", gpus=3)
    locked, free = cluster.submit(), cluster.submit()
    with psycopg.connect(url) as other:
        other.execute("SELECT FROM job WHERE id = %s FOR UPDATE", (locked,))
        other.execute("SELECT FROM gpu WHERE number = 0 FOR UPDATE")

        got = cluster.claim()

        assert (got.job, got.gpus[0].number) == (free, 1)
        assert cluster.claim() is None  # it gives up instead of waiting
    assert cluster.claimed() == [locked]


# ---- a second method


def expected(cluster):
    """The job that is next by the rules as one would write them down without any index: a scan of everything."""
    free = cluster.connection.execute(
        "SELECT g.worker || '/' || g.host, g.generation, g.memory_mb FROM gpu g JOIN worker w ON w.name = g.worker"
        " WHERE g.held_by IS NULL AND g.state = 'ok' AND w.state = 'up'"
    ).fetchall()
    held = dict(cluster.connection.execute("SELECT held_owner, count(*) FROM gpu WHERE held_by IS NOT NULL GROUP BY 1"))
    queued = cluster.connection.execute(
        "SELECT id, owner, gpus, generations, memory_mb, priority, extract(epoch FROM queued_at)::float8"
        " FROM job WHERE state = 'queued'"
    ).fetchall()
    best = None
    for job, owner, gpus, generations, memory_mb, priority, queued_s in queued:
        fitting = [
            host for host, generation, size in free if size >= memory_mb and generation in (generations or [generation])
        ]
        if any(fitting.count(host) >= gpus for host in fitting):
            score = (queued_s - 3600 * priority + min(6 * 3600, 300 * held.get(owner, 0)), job)
            best = score if best is None else min(best, score)
    return None if best is None else best[1]


@pytest.mark.parametrize("seed", range(6))
def test_the_claim_is_what_a_plain_scan_would_choose(cluster, seed):
    rng = random.Random(seed)
    cluster.connection.execute("UPDATE queue_policy SET reserve_after = '7 days'")
    kinds = {"h100": 80, "a100": 40, "v100": 16}
    for number in range(4):
        generation = rng.choice(list(kinds))
        cluster.worker(f"w{number}", rng.randint(1, 4), generation, kinds[generation])
    cluster.worker("all", 1)
    cluster.found("all", [(name, gib, "ok") for name, gib in kinds.items()] * 2)
    cluster.nodes("cluster", a=1, b=2, c=1)
    running = []
    for _ in range(40):
        action = rng.random()
        if action < 0.5:
            job = cluster.submit(
                owner=rng.choice("abc"), gpus=rng.choice((1, 1, 1, 2)), priority=rng.randint(0, 9),
                generations=rng.choice(([], [], ["h100"], ["a100", "v100"])), memory_gb=rng.choice((0, 0, 30)),
            )  # fmt: skip
            cluster.age(job, rng.random() * 10)
        elif action < 0.65 and running:
            cluster.end(running.pop(rng.randrange(len(running))))
        else:
            wanted = expected(cluster)
            got = cluster.claim()
            assert (None if got is None else got.job) == wanted
            running += [] if got is None else [got.job]
    assert running
