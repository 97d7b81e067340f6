"""Parts of a step's pod that follow from the settings alone: what it may use, see and do.

Together they fit the restricted level of the Pod Security Standards: non-root, read-only root, no capability, the
runtime's own seccomp profile (https://kubernetes.io/docs/concepts/security/pod-security-standards/).
"""

import math

from kubernetes.client import models as k8s  # type: ignore[import-untyped]

from eyewall.contracts.placement import KubernetesSettings, Mount, Resources

USER = 10001  #: the images' own user
TERMINATION_LOG = "/dev/termination-log"


def environment(needs: Resources) -> dict[str, str]:
    """Variables of every step's container."""
    threads = str(max(math.floor(needs.cpus), 1))
    return {
        # The end of the step as one line, kept by Kubernetes with the exit code (eyewall.cli.last_words).
        "EYEWALL_TERMINATION_LOG": TERMINATION_LOG,
        # The root is read-only; libraries cache below HOME.
        "HOME": "/tmp",  # noqa: S108 - of the container, an emptyDir of its own
        "TMPDIR": "/tmp",  # noqa: S108
        # Pools of threads are sized by the node's cores otherwise, and fight over the few that the pod may use.
        "EYEWALL_THREADS": threads,
        "OMP_NUM_THREADS": threads,
        "PYTHONUNBUFFERED": "1",
    }


def resources(own: KubernetesSettings, needs: Resources) -> k8s.V1ResourceRequirements:
    """Requests equal to limits: what is promised is there, and such pods are evicted last."""
    amounts = {"cpu": f"{needs.cpus:g}", "memory": needs.memory}
    if needs.gpus:
        amounts[own.gpu_resource] = str(needs.gpus)
    return k8s.V1ResourceRequirements(requests=amounts, limits=dict(amounts))


def pod_security(own: KubernetesSettings) -> k8s.V1PodSecurityContext:
    """Who the pod is."""
    return k8s.V1PodSecurityContext(
        run_as_non_root=True,
        run_as_user=USER,
        run_as_group=own.fs_group,
        fs_group=own.fs_group,
        # Handing a claim of a million files over, one by one, at each start takes minutes.
        fs_group_change_policy="OnRootMismatch",
        seccomp_profile=k8s.V1SeccompProfile(type="RuntimeDefault"),
    )


def container_security() -> k8s.V1SecurityContext:
    """What its container may do: nothing beyond what every process may."""
    return k8s.V1SecurityContext(
        allow_privilege_escalation=False,
        privileged=False,
        read_only_root_filesystem=True,
        capabilities=k8s.V1Capabilities(drop=["ALL"]),
    )


def volumes(own: KubernetesSettings, needs: Resources) -> list[tuple[k8s.V1Volume, k8s.V1VolumeMount]]:
    """Each volume with its place in the container: scratch, shared memory, then the settings' mounts."""
    scratch = k8s.V1Volume(name="tmp", empty_dir=k8s.V1EmptyDirVolumeSource())
    # The container's own /dev/shm has 64 MiB, on which TensorFlow and NCCL fail with a bus error. It is part of the
    # container's memory, and counts against its limit.
    shm = k8s.V1Volume(name="shm", empty_dir=k8s.V1EmptyDirVolumeSource(medium="Memory", size_limit=needs.shm))
    return [
        (scratch, k8s.V1VolumeMount(name="tmp", mount_path="/tmp")),  # noqa: S108
        (shm, k8s.V1VolumeMount(name="shm", mount_path="/dev/shm")),  # noqa: S108
        *(_mounted(f"mount-{index}", mount) for index, mount in enumerate(own.mounts)),
    ]


def _mounted(name: str, mount: Mount) -> tuple[k8s.V1Volume, k8s.V1VolumeMount]:
    if mount.claim is not None:
        # Read-only by the mount alone: one claim may be mounted twice, once for reading.
        source = {"persistent_volume_claim": k8s.V1PersistentVolumeClaimVolumeSource(claim_name=mount.claim)}
    else:
        # "Directory": a folder that is not there is said, instead of being made, empty and owned by root.
        source = {"host_path": k8s.V1HostPathVolumeSource(path=mount.source, type="Directory")}
    return (
        k8s.V1Volume(name=name, **source),
        k8s.V1VolumeMount(name=name, mount_path=mount.target, read_only=mount.read_only),
    )


def tolerations(own: KubernetesSettings) -> list[k8s.V1Toleration]:
    """Taints that the pods may live with."""
    return [
        k8s.V1Toleration(key=one.key, operator=one.operator, value=one.value, effect=one.effect)
        for one in own.tolerations
    ]


def labels(own: KubernetesSettings, verb: str) -> dict[str, str]:
    """What people, and Kueue, know the pod by."""
    found = {
        "app.kubernetes.io/name": "eyewall",
        "app.kubernetes.io/component": verb,
        "app.kubernetes.io/part-of": "eyewall",
        "app.kubernetes.io/managed-by": "airflow",
        "eyewall.io/verb": verb,
    }
    if own.queue is not None:
        # Kueue then holds the pod back until the queue's quota has room for it.
        found["kueue.x-k8s.io/queue-name"] = own.queue
        if own.queue_priority is not None:
            found["kueue.x-k8s.io/priority-class"] = own.queue_priority
    return found


def node_selector(own: KubernetesSettings, needs: Resources) -> dict[str, str]:
    """Labels of the nodes that the pod may go to."""
    found = dict(own.node_selector)
    if needs.gpus and own.gpu_generation is not None:
        found[own.gpu_label] = own.gpu_generation  # a step without GPUs must not wait for such a node
    return found
