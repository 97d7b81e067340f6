"""An attempt as Kubernetes objects: what its pod may do, what it is given, and that every field exists."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyewall.contracts.errors import ContractError
from eyewall.jobs.pods.manifest import Place, plain, pod, uuid_of
from eyewall.jobs.pods.options import PodOptions
from eyewall.jobs.pods.permit import labels, part, permit
from eyewall.jobs.runner import Assignment, Gpu, Worker

OPTIONS = PodOptions(cpus=1.5, memory="3Gi", disk="5Gi")
DECLARED = (Gpu(0, "cluster-0", True), Gpu(1, "cluster-1", True))
REAL = tuple(Gpu(n, uuid_of("A100", "node-1", n), False) for n in range(3))
JOB = Assignment(
    attempt=70, job=17, number=2, token=1, worker=Worker("cluster", "kubernetes"), gpus=DECLARED,
    command=("train", "--lr", "0.1"), owner="ada", environment="some", image="r/some@sha256:" + "a" * 64, folder=None,
    code=None, data=(), variables={"LR": "3"}, max_s=None,
)  # fmt: skip
NOWHERE = Place(parts=0, data=(), out_in_store=False)


def _spec(job: Assignment = JOB, options: PodOptions = OPTIONS, place: Place = NOWHERE) -> dict[str, Any]:
    found: dict[str, Any] = pod(job, options, "uid-1", place)["spec"]
    return found


def _job_container(*args: Any) -> dict[str, Any]:
    found: dict[str, Any] = _spec(*args)["containers"][0]
    return found


def _environment(*args: Any) -> dict[str, str]:
    return {entry["name"]: entry.get("value") for entry in _job_container(*args)["env"]}


WITH_CODE = dataclasses.replace(JOB, code="code/lab", max_s=60)
STORED = Place(0, (("/work/data/0-tracks", "data/tracks"), ("s3://b/x", None)), True)
CLAIM = PodOptions(store="claim:eyewall-store", store_path="main/store")


@pytest.mark.parametrize(
    ("job", "options", "place"),
    [
        pytest.param(JOB, OPTIONS, NOWHERE, id="plain"),
        pytest.param(WITH_CODE, OPTIONS, Place(3, (), False), id="code in parts"),
        pytest.param(WITH_CODE, CLAIM, STORED, id="a common store"),
        pytest.param(dataclasses.replace(JOB, gpus=REAL), OPTIONS, NOWHERE, id="GPUs"),
    ],
)
def test_every_container_keeps_to_the_restricted_level_and_its_volumes_are_there(
    job: Assignment, options: PodOptions, place: Place
) -> None:
    """Pod Security Standards, "restricted"; and beyond it a read-only root, limits and no token."""
    spec = _spec(job, options, place)

    assert spec["restartPolicy"] == "Never"
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"emptyDir", "projected", "persistentVolumeClaim"}
    for container in [*spec["containers"], *spec.get("initContainers", ())]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        amounts = [{k: v for k, v in container["resources"][of].items() if k != "cpu"} for of in ("limits", "requests")]
        assert amounts[0] == amounts[1]
        assert {"cpu", "memory", "ephemeral-storage"} <= set(container["resources"]["limits"])
        assert {m["name"] for m in container["volumeMounts"]} <= {volume["name"] for volume in spec["volumes"]}


@pytest.mark.parametrize("options", [pytest.param(OPTIONS, id="plain"), pytest.param(CLAIM, id="a common store")])
def test_the_client_has_every_field(options: PodOptions) -> None:
    """A server drops what it does not know in silence: here each name and type is one of the client's models."""
    from kubernetes.client import ApiClient

    job = dataclasses.replace(WITH_CODE, gpus=REAL)
    place = STORED if options.store else Place(2, (), False)
    own = options.model_copy(update={"queue": "q", "priority_class": "low", "pull_secrets": ("login",)})
    for kind, made in (
        ("V1Pod", pod(job, own, "uid-1", place)),
        ("V1ConfigMap", permit(job, own)),
        ("V1ConfigMap", part(job, own, "uid-1", 0, "eHg=")),
    ):
        client = ApiClient()

        class Response:
            data = __import__("json").dumps(made)

        typed = client.deserialize(Response, kind)
        assert client.sanitize_for_serialization(typed) == made


def test_the_pod_needs_its_permit_and_goes_with_it() -> None:
    made = pod(JOB, OPTIONS, "uid-1", NOWHERE)
    needed = made["spec"]["containers"][0]["env"][0]["valueFrom"]["configMapKeyRef"]

    assert needed == {"name": "eyewall-job-17-2", "key": "job", "optional": False}
    assert permit(JOB, OPTIONS)["data"]["job"] == "17"
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("ConfigMap", "eyewall-job-17-2", "uid-1")
    assert made["metadata"]["name"] == permit(JOB, OPTIONS)["metadata"]["name"] == JOB.name


def test_limits_are_by_slot_and_only_real_gpus_are_asked_of_the_cluster() -> None:
    declared = _job_container(JOB)["resources"]["limits"]
    real = _job_container(dataclasses.replace(JOB, gpus=REAL))["resources"]["limits"]

    # 2 × 1.5 cores and 2 × 3 GiB; 3 × 1.5 and 3 × 3
    assert declared == {"cpu": "3", "memory": "6Gi", "ephemeral-storage": "5Gi"}
    assert real == {"cpu": "4.5", "memory": "9Gi", "ephemeral-storage": "5Gi", "nvidia.com/gpu": "3"}


def _node_terms(job: Assignment, options: PodOptions = OPTIONS) -> Any:
    return _spec(job, options)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]


def test_a_pod_of_real_gpus_goes_to_the_node_of_its_slots_and_is_told_nothing_of_devices() -> None:
    job = dataclasses.replace(JOB, gpus=REAL)
    of_generation = {
        "matchExpressions": [{"key": "eyewall.io/gpu-generation", "operator": "In", "values": ["A100"]}],
    }
    of_name = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}

    assert _node_terms(job) == {"nodeSelectorTerms": [of_generation | of_name]}
    assert "CUDA_VISIBLE_DEVICES" not in _environment(job)  # the device plugin says it
    assert _environment(JOB)["CUDA_VISIBLE_DEVICES"] == ""
    assert _environment(JOB)["NVIDIA_VISIBLE_DEVICES"] == "void"


def test_where_kueue_picks_the_node_only_the_generation_is_asked_for_and_none_of_nodes_without_a_label() -> None:
    queued = PodOptions(queue="eyewall")
    gpus = (Gpu(0, uuid_of("any", "node-1", 0), False),)

    (term,) = _node_terms(dataclasses.replace(JOB, gpus=REAL), queued)["nodeSelectorTerms"]
    assert set(term) == {"matchExpressions"}
    (term,) = _node_terms(dataclasses.replace(JOB, gpus=gpus))["nodeSelectorTerms"]
    assert set(term) == {"matchFields"}
    assert "affinity" not in _spec(dataclasses.replace(JOB, gpus=gpus), queued)
    assert "affinity" not in _spec(JOB)


def test_a_job_cannot_choose_what_the_platform_says() -> None:
    job = dataclasses.replace(JOB, variables={"EYEWALL_JOB": "1", "EYEWALL_OUT": "/etc", "HOME": "/", "LR": "$(HOME)"})

    entries = _job_container(job)["env"]
    assert [entry["name"] for entry in entries].count("EYEWALL_OUT") == 1
    assert _environment(job)["EYEWALL_OUT"] == "/work/out"
    assert _environment(job)["HOME"] == "/tmp"
    assert _environment(job)["LR"] == "$$(HOME)"
    assert entries[-1]["name"] != "EYEWALL_JOB" or "valueFrom" in entries[-1]


def _kubelet(text: str, values: dict[str, str]) -> str:
    """What a kubelet makes of a word of the command: k8s.io/kubernetes/third_party/forked/golang/expansion."""
    out, at = "", 0
    while at < len(text):
        if text[at] != "$" or at + 1 == len(text):
            out, at = out + text[at], at + 1
        elif text[at + 1] == "$":
            out, at = out + "$", at + 2
        elif text[at + 1] == "(" and (end := text.find(")", at)) > 0:
            name = text[at + 2 : end]
            out, at = out + values.get(name, f"$({name})"), end + 1
        else:
            out, at = out + text[at : at + 2], at + 2
    return out


@given(st.text(alphabet="$()AB x", max_size=12))
def test_a_word_reaches_the_program_as_it_is_whatever_a_kubelet_replaces(word: str) -> None:
    assert _kubelet(plain(word), {"A": "1", "B": "2"}) == word


def test_of_a_common_store_only_the_jobs_own_paths_are_mounted() -> None:
    spec = _spec(WITH_CODE, CLAIM, STORED)
    mounts = [
        m for c in [*spec["containers"], *spec["initContainers"]] for m in c["volumeMounts"] if m["name"] == "store"
    ]

    assert [(m["subPath"], m["mountPath"], m.get("readOnly", False)) for m in mounts] == [
        ("main/store/jobs/17/2/out", "/work/out", False),
        ("main/store/data/tracks", "/work/data/0-tracks", True),
        ("main/store/code/lab", "/eyewall/stored", True),
    ]
    told = _environment(WITH_CODE, CLAIM, STORED)
    assert told["EYEWALL_DATA"] == "/work/data/0-tracks:s3://b/x"
    assert told["EYEWALL_DATA_JSON"] == '["/work/data/0-tracks", "s3://b/x"]'
    assert (told["EYEWALL_DATA_0"], told["EYEWALL_DATA_1"]) == ("/work/data/0-tracks", "s3://b/x")
    assert len(spec["containers"]) == 1  # nobody has to hand anything over


def test_parts_of_another_permit_of_the_same_name_are_other_objects() -> None:
    names = {part(JOB, OPTIONS, uid, n, "")["metadata"]["name"] for uid in ("aaaaaaaa-1", "bbbbbbbb-1") for n in (0, 1)}

    assert len(names) == 4
    assert all(len(name) < 64 for name in names)


def test_the_kubelet_ends_a_job_ten_minutes_after_its_dispatcher_should_have() -> None:
    assert _spec(WITH_CODE)["activeDeadlineSeconds"] == 60 + 600
    assert "activeDeadlineSeconds" not in _spec(JOB)


def test_an_attempt_of_another_database_is_another_whoever_supervises_it() -> None:
    others = [dataclasses.replace(JOB, **change) for change in ({"claimed_s": 2.5}, {"attempt": 71}, {"number": 3})]

    marks = {
        pod(job, OPTIONS, "u", NOWHERE)["metadata"]["annotations"]["eyewall.io/attempt-mark"] for job in (JOB, *others)
    }
    assert len(marks) == 4
    assert permit(dataclasses.replace(JOB, token=9), OPTIONS)["metadata"]["annotations"].popitem()[1] in marks


def test_kueue_is_told_of_the_pod_and_not_of_the_config_map() -> None:
    options = PodOptions(queue="eyewall", queue_priority="low")

    own = pod(JOB, options, "uid-1", NOWHERE)["metadata"]["labels"]
    assert own["kueue.x-k8s.io/queue-name"] == "eyewall"
    assert own["kueue.x-k8s.io/priority-class"] == "low"
    assert not [key for key in permit(JOB, options)["metadata"]["labels"] if key.startswith("kueue")]


def test_a_pod_has_the_class_of_its_jobs_priority_or_the_one_for_all() -> None:
    by_priority = PodOptions.of("cluster", {"priority_classes": {"3": "low", "7": "high"}, "priority_class": "any"})

    def given(priority: int, options: PodOptions) -> str | None:
        found: str | None = _spec(dataclasses.replace(JOB, priority=priority), options).get("priorityClassName")
        return found

    # 0 to 2 have none of their own, 3 to 6 that of 3, 7 to 9 that of 7
    assert [given(n, by_priority) for n in range(10)] == ["any"] * 3 + ["low"] * 4 + ["high"] * 3
    assert given(9, PodOptions(priority_class="any")) == "any"
    assert given(9, PodOptions()) is None


# Options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param({"namespce": "x"}, "workers.cluster.namespce", id="a typing error"),
        pytest.param({"namespace": "No_Name"}, "workers.cluster.namespace = 'No_Name'", id="no name of an object"),
        pytest.param({"memory": "2GB"}, "'2GB' is not an amount of memory", id="no amount"),
        pytest.param({"store": "claim:A b"}, "names no PersistentVolumeClaim", id="no claim"),
        pytest.param({"store": "../x"}, "not a plain absolute path", id="no absolute path"),
        pytest.param({"priority_classes": {"10": "x"}}, "workers.cluster.priority_classes.10", id="no priority"),
        pytest.param({"priority_classes": {"1": "X y"}}, "workers.cluster.priority_classes.1 = 'X y'", id="no class"),
        pytest.param({"store": "claim:x", "store_path": "../y"}, "workers.cluster.store_path", id="a way out"),
    ],
)
def test_an_unusable_option_is_refused_with_its_name_and_value(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ContractError) as caught:
        PodOptions.of("cluster", options)

    assert words in str(caught.value)


def test_what_is_not_said_is_none_as_a_table_of_the_database_has_it() -> None:
    assert PodOptions.of("cluster", {"devices": None, "store": None}) == PodOptions()
    assert labels(JOB, PodOptions())["eyewall.io/job"] == "17"
