"""Whether a whole gang finds room, by arithmetic."""

from decimal import Decimal

import pytest
from gang_cluster import node

from operators.gang_placement import Need, amount, place, requests_of


def spec(cpu="1", memory="1Gi", gpus=0, selector=None, tolerations=(), node_name=None):
    requests = {"cpu": cpu, "memory": memory, **({"nvidia.com/gpu": str(gpus)} if gpus else {})}
    return {
        "containers": [{"resources": {"requests": requests}}],
        "nodeSelector": selector,
        "tolerations": list(tolerations),
        "nodeName": node_name,
    }


def pod(on, phase="Running", **values):
    return {"metadata": {"name": "p"}, "spec": spec(node_name=on, **values), "status": {"phase": phase}}


def tainted(name, effect="NoSchedule", **values):
    made = node(name, **values)
    made["spec"]["taints"] = [{"key": "gpu", "value": "yes", "effect": effect}]
    return made


@pytest.mark.parametrize(
    ("quantity", "base_units"),
    [
        pytest.param("500m", "0.5", id="millicores"),
        pytest.param("2", "2", id="cores"),
        pytest.param(1.5, "1.5", id="a number"),
        pytest.param("4Gi", str(4 * 1024**3), id="gibibytes"),
        pytest.param("3G", "3000000000", id="gigabytes"),
        pytest.param("24581692Ki", str(24581692 * 1024), id="as a node gives its memory"),
        pytest.param("1e3", "1000", id="an exponent"),
        pytest.param("250000u", "0.25", id="millionths"),
    ],
)
def test_quantities_are_read_as_kubernetes_writes_them(quantity, base_units):
    assert amount(quantity) == Decimal(base_units)


def test_a_pod_asks_for_the_sum_of_its_containers_or_its_largest_init_container():
    # cpu: containers 1 + 0.5 = 1.5 > 1 of the init container; memory: 2 + 1 = 3 < 4 of the init container
    pod_spec = {
        "containers": [
            {"resources": {"requests": {"cpu": "1", "memory": "2Gi"}}},
            {"resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}},  # a limit alone is the request
        ],
        "initContainers": [{"resources": {"requests": {"cpu": "1", "memory": "4Gi"}}}],
    }

    assert requests_of(pod_spec) == {"cpu": Decimal("1.5"), "memory": Decimal(4 * 1024**3), "pods": Decimal(1)}


@pytest.mark.parametrize(
    ("replicas", "found"),
    [pytest.param(5, True, id="five find room"), pytest.param(6, False, id="the sixth does not")],
)
def test_replicas_fill_nodes_beside_the_pods_that_run_there(replicas, found):
    # a: 4 − 1.5 = 2.5 cores → 2 replicas of 1 core; b: 4 − 0.5 = 3.5 → 3. A pod that has ended takes nothing.
    pods = [pod("a", cpu="1500m"), pod("b", cpu="500m"), pod("b", "Succeeded", cpu="3"), pod("a", "Failed", cpu="2")]

    placed = place([Need.of(spec())] * replicas, [node("a"), node("b")], pods)

    assert placed.complete is found
    assert placed.nodes[:5] == ("a", "a", "b", "b", "b")


def test_the_sentence_names_what_is_missing():
    need = Need.of(spec(cpu="1", memory="2Gi", gpus=2, selector={"eyewall.io/gpu-generation": "ampere"}))
    nodes = [node("a", gpus=2, **{"eyewall.io/gpu-generation": "ampere"}), node("b", gpus=8)]

    assert place([need, need], nodes, []).sentence == (
        "1 of 2 replicas find room: one asks for 1 cpu, 2Gi memory, 2 nvidia.com/gpu with"
        " eyewall.io/gpu-generation=ampere; 2 of 2 nodes take pods"
    )


def test_larger_replicas_are_placed_first_so_that_small_ones_do_not_take_their_place():
    # First fit in the order given would put the small one on a, and 4 cores then fit nowhere.
    small, large = Need.of(spec(cpu="1")), Need.of(spec(cpu="4"))

    assert place([small, large], [node("a", cpu="4"), node("b", cpu="1")], []).nodes == ("b", "a")


@pytest.mark.parametrize(
    ("nodes", "tolerations", "found"),
    [
        pytest.param([tainted("a")], [], False, id="tainted"),
        pytest.param([tainted("a", "PreferNoSchedule")], [], True, id="only preferably not"),
        pytest.param([tainted("a")], [{"key": "gpu", "operator": "Exists"}], True, id="tolerated by key"),
        pytest.param([tainted("a")], [{"key": "gpu", "value": "yes"}], True, id="tolerated by value"),
        pytest.param([tainted("a")], [{"key": "gpu", "value": "no"}], False, id="another value"),
        pytest.param([tainted("a")], [{"operator": "Exists"}], True, id="all tolerated"),
        pytest.param(
            [tainted("a", "NoExecute")], [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}], False,
            id="another effect",
        ),
        pytest.param([node("a") | {"spec": {"unschedulable": True}}], [], False, id="cordoned"),
    ],
)  # fmt: skip
def test_taints_keep_pods_off_unless_they_are_tolerated(nodes, tolerations, found):
    assert place([Need.of(spec(tolerations=tolerations))], nodes, []).complete is found


def test_a_node_that_is_not_ready_or_full_of_pods_takes_none():
    sleeping, full = node("a"), node("b")
    sleeping["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    full["status"]["allocatable"]["pods"] = "1"

    assert not place([Need.of(spec())], [sleeping, full], [pod("b", cpu="10m", memory="1Mi")]).complete


def test_pods_of_another_gang_that_are_still_to_be_placed_were_there_first():
    need = Need.of(spec(gpus=1))

    assert place([need], [node("a", gpus=2)], [], ahead=[need]).complete
    assert not place([need, need], [node("a", gpus=2)], [], ahead=[need]).complete
