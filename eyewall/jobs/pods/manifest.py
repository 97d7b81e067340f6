"""An attempt as the one pod that needs its permit (`permit.py`).

Pure: everything here is JSON made of an assignment and the worker's options. The pod keeps to the restricted level of
the Pod Security Standards (https://kubernetes.io/docs/concepts/security/pod-security-standards/).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from eyewall.jobs.pods.options import PodOptions
from eyewall.jobs.pods.out import MAX_PACKED_BYTES
from eyewall.jobs.pods.permit import KEEPER_SCRIPT, KEY, MARK, PLACE_SCRIPT, labels, owner, part_name
from eyewall.jobs.runner import Assignment
from eyewall.jobs.variables import told

Object = dict[str, Any]
JOB = "job"  #: the container of the user's command
PLACE = "code"  #: the init container that puts the code in its place
KEEPER = "out"  #: the container beside the job that prints its output, where there is no common store
CODE_DIR, DATA_DIR, OUT_DIR = "/work/code", "/work/data", "/work/out"
_PARTS_DIR, _STORED_CODE = "/eyewall/parts", "/eyewall/stored"
_LATE_S = 600  # the dispatcher ends a job that is over its time; the kubelet does where no dispatcher lives


class Place(NamedTuple):
    """How code, data and output get in and out (`eyewall.jobs.pods.code` decides)."""

    parts: int  #: of the code, that `create` made; 0: it comes from the store's volume, or there is none
    data: tuple[tuple[str, str | None], ...]  #: what the job is told, and the path in the store that is mounted there
    out_in_store: bool  #: whether the output folder is the store's own


def pod(assignment: Assignment, options: PodOptions, uid: str, place: Place) -> Object:
    """The pod of an attempt whose permit has this ``uid``."""
    spec: Object = {
        "restartPolicy": "Never",
        "serviceAccountName": options.service_account,
        "automountServiceAccountToken": False,  # a user's program must find no token to steal
        "enableServiceLinks": False,
        # The program is not PID 1, whose SIGTERM the kernel drops unless it is handled, and its orphans are reaped.
        "shareProcessNamespace": True,
        "terminationGracePeriodSeconds": 30,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": options.user,
            "runAsGroup": options.user,
            "fsGroup": options.user,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "nodeSelector": dict(options.node_selector),
        "tolerations": [one.model_dump(exclude_none=True) for one in options.tolerations],
        "volumes": _volumes(assignment, options, uid, place),
        "containers": [_job(assignment, options, place)],
    }
    if assignment.code is not None:
        spec["initContainers"] = [_placer(assignment, options, place.parts)]
    if not place.out_in_store:
        spec["containers"].append(_keeper(assignment, options))  # last: kubelets start them in this order
    if assignment.max_s is not None:
        spec["activeDeadlineSeconds"] = assignment.max_s + _LATE_S
    if (priority_class := options.priority_class_of(assignment.priority)) is not None:
        spec["priorityClassName"] = priority_class
    if options.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in options.pull_secrets]
    if term := _node_term(assignment, options):
        terms = {"nodeSelectorTerms": [term]}
        spec["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": assignment.name,
            "labels": labels(assignment, options),
            "annotations": {MARK: assignment.mark},
            "ownerReferences": [owner(assignment, uid)],
        },
        "spec": spec,
    }


def plain(text: str) -> str:
    """A text that the kubelet gives to the container as it is; it would replace ``$(NAME)`` otherwise."""
    return text.replace("$", "$$")


def out_path(assignment: Assignment) -> str:
    """Where in the store the output of an attempt is kept."""
    return f"jobs/{assignment.job}/{assignment.number}/out"


def uuid_of(generation: str, node: str, number: int) -> str:
    """Name of a slot. A slot is no device, it is one share of what a node has; the cluster picks the device there."""
    return f"{generation}/{node}/{number}"


def _node_term(assignment: Assignment, options: PodOptions) -> Object:
    """The node of the slots that the attempt has on lease, else the queue's count of what is free there is wrong.

    Where Kueue admits the pod, it picks the node, and only the slots' generations count.
    """
    slots = [gpu.uuid.split("/") for gpu in assignment.gpus if not gpu.declared]
    generations, nodes = ({slot[at] for slot in slots} for at in (0, 1))
    term: Object = {}
    if slots and "any" not in generations:
        wanted = {"key": options.gpu_label, "operator": "In", "values": sorted(generations)}
        term["matchExpressions"] = [wanted]
    if slots and options.queue is None:
        term["matchFields"] = [{"key": "metadata.name", "operator": "In", "values": sorted(nodes)}]
    return term


def _job(assignment: Assignment, options: PodOptions, place: Place) -> Object:
    """The container of the user's command: a list of words, for no shell."""
    mounts: list[Object] = [
        {"name": "code", "mountPath": CODE_DIR},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - of the container
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
    ]
    if place.out_in_store:
        mounts.append({"name": "store", "mountPath": OUT_DIR, "subPath": options.in_the_store(out_path(assignment))})
    else:
        mounts.append({"name": "out", "mountPath": OUT_DIR})
    mounts += [
        {"name": "store", "mountPath": where, "subPath": options.in_the_store(path), "readOnly": True}
        for where, path in place.data
        if path is not None
    ]
    return {
        "name": JOB,
        "image": assignment.image,
        "imagePullPolicy": options.pull_policy,
        "command": [plain(word) for word in assignment.command],
        "workingDir": CODE_DIR,
        "env": _environment(assignment, place),
        "resources": _resources(assignment, options),
        "volumeMounts": mounts,
        "securityContext": _security(),
        # The last lines of a job that failed come with its end.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _environment(assignment: Assignment, place: Place) -> list[Object]:
    devices = [gpu for gpu in assignment.gpus if not gpu.declared]
    values = {
        "PYTHONUNBUFFERED": "1",  # a report is to be seen when it is printed
        "TMPDIR": "/tmp",  # noqa: S108
        **assignment.variables,
        "HOME": "/tmp",  # noqa: S108 - of the container; its root is read-only
        **told(assignment, CODE_DIR, [where for where, _ in place.data], OUT_DIR),
    }
    if not devices:
        # Images of CUDA ask for all GPUs by themselves, and get them where NVIDIA's runtime is a node's default.
        values |= {"CUDA_VISIBLE_DEVICES": "", "NVIDIA_VISIBLE_DEVICES": "void"}
    needed = {"configMapKeyRef": {"name": assignment.name, "key": KEY, "optional": False}}
    return [
        {"name": "EYEWALL_JOB", "valueFrom": needed},
        *({"name": name, "value": plain(value)} for name, value in values.items() if name != "EYEWALL_JOB"),
    ]


def _resources(assignment: Assignment, options: PodOptions) -> Object:
    """Requests equal to limits: what is promised is there, and such pods are evicted last."""
    slots = max(len(assignment.gpus), 1)
    amount, unit = int(options.memory[:-2]), options.memory[-2:]
    amounts = {
        "cpu": f"{options.cpus * slots:g}",
        "memory": f"{amount * slots}{unit}",
        "ephemeral-storage": options.disk,
    }
    if devices := sum(not gpu.declared for gpu in assignment.gpus):
        amounts[options.gpu_resource] = str(devices)
    return {"requests": amounts, "limits": dict(amounts)}


def _placer(assignment: Assignment, options: PodOptions, parts: int) -> Object:
    """The init container: it needs Python only, which every framework's image has."""
    source = _PARTS_DIR if parts else _STORED_CODE
    mounts: list[Object] = [
        {"name": "permit", "mountPath": _PARTS_DIR, "readOnly": True},
        {"name": "code", "mountPath": CODE_DIR},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
    ]
    if not parts:
        stored = {"name": "store", "subPath": options.in_the_store(str(assignment.code)), "readOnly": True}
        mounts.append({**stored, "mountPath": _STORED_CODE})
    needs = _resources(assignment, options)
    amounts = {kind: {k: v for k, v in of.items() if k != options.gpu_resource} for kind, of in needs.items()}
    return {
        "name": PLACE,
        "image": assignment.image,
        "imagePullPolicy": options.pull_policy,
        "command": [
            "python3",
            "-I",
            f"{_PARTS_DIR}/{PLACE_SCRIPT}",
            source,
            CODE_DIR,
            plain(str(assignment.code).rsplit("/", 1)[-1]),
        ],
        "env": [{"name": "HOME", "value": "/tmp"}, {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}],  # noqa: S108
        "resources": amounts,
        "volumeMounts": mounts,
        "securityContext": _security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _keeper(assignment: Assignment, options: PodOptions) -> Object:
    """The container that sees the output folder, and of the job no more than that it still runs."""
    amounts = {"memory": "128Mi", "ephemeral-storage": "64Mi"}
    return {
        "name": KEEPER,
        "image": assignment.image,
        "imagePullPolicy": options.pull_policy,
        "command": ["python3", "-I", f"{_PARTS_DIR}/{KEEPER_SCRIPT}", OUT_DIR, str(MAX_PACKED_BYTES)],
        "env": [{"name": "HOME", "value": "/tmp"}, {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}],  # noqa: S108
        # It works when the job does not any more.
        "resources": {"requests": {"cpu": "0.05", **amounts}, "limits": {"cpu": "1", **amounts}},
        "volumeMounts": [
            {"name": "permit", "mountPath": _PARTS_DIR, "readOnly": True},
            {"name": "out", "mountPath": OUT_DIR, "readOnly": True},
        ],
        "securityContext": _security(),
    }


def _security() -> Object:
    return {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def _volumes(assignment: Assignment, options: PodOptions, uid: str, place: Place) -> list[Object]:
    found: list[Object] = [
        {"name": "code", "emptyDir": {}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": options.shm}},
    ]
    if assignment.code is not None or not place.out_in_store:
        maps: Sequence[Object] = [
            {"name": assignment.name, "items": [{"key": s, "path": s} for s in (PLACE_SCRIPT, KEEPER_SCRIPT)]},
            *({"name": part_name(assignment, uid, number)} for number in range(place.parts)),
        ]
        found.append({"name": "permit", "projected": {"sources": [{"configMap": one} for one in maps]}})
    if not place.out_in_store:
        found.append({"name": "out", "emptyDir": {}})
    if options.store_volume is not None:
        found.append({"name": "store", **options.store_volume})
    return found
