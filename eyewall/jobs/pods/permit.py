"""What `create` makes of an attempt: its permit, a ConfigMap, and the parts of its code, which go with it.

A pod cannot be made without being started. So what is made first is the *permit*: the pod takes a variable from it, so
no kubelet starts the pod without it, and it owns the pod, so the garbage collector removes the pod with it. That is
what keeps a dispatcher that was frozen before its request for the pod from running a job that has ended meanwhile:

    while the pod is there       its name is taken: the API server refuses the second one
    before the pod is deleted    the permit is spent or deleted: a late pod of this name is never started
"""

from importlib import resources
from typing import Any, Final

from eyewall.jobs.pods.options import PodOptions
from eyewall.jobs.runner import Assignment

Object = dict[str, Any]
MARK: Final = "eyewall.io/attempt-mark"  #: annotation: tells an attempt from another installation's of its name
KEY: Final = "job"  #: what the pod needs of the permit; a spent permit has it no more
PARTS: Final = "eyewall.io/parts"  #: annotation of a permit: so many parts of code are there; nothing is missing
STARTED: Final = "eyewall.io/started"  #: annotation of a permit: its pod was made
STOPPED: Final = "eyewall.io/stopped"  #: annotation of a permit: its pod was told to go by a dispatcher
END: Final = "eyewall.io/end"  #: annotation of a permit: exit code and sentence of an end whose pod is deleted
PLACE_SCRIPT, KEEPER_SCRIPT = "place.py", "keep.py"
#: What the other two containers run: its name in the permit → the module here.
SCRIPTS: Final = {PLACE_SCRIPT: "place.py", KEEPER_SCRIPT: "keeper.py"}


def labels(assignment: Assignment, options: PodOptions) -> dict[str, str]:
    """Labels of everything of an attempt, by which people find it: ``kubectl get pods -l eyewall.io/job=17``."""
    found = {
        "app.kubernetes.io/name": "eyewall",
        "app.kubernetes.io/component": "job",
        "app.kubernetes.io/part-of": "eyewall",
        "app.kubernetes.io/managed-by": "eyewall",
        "eyewall.io/job": str(assignment.job),
        "eyewall.io/attempt": str(assignment.number),
    }
    if options.queue is not None:
        found["kueue.x-k8s.io/queue-name"] = options.queue
        if options.queue_priority is not None:
            found["kueue.x-k8s.io/priority-class"] = options.queue_priority
    return found


def permit(assignment: Assignment, options: PodOptions) -> Object:
    """The ConfigMap without which the attempt's pod does not run; holds what its other containers run."""
    folder = resources.files("eyewall.jobs.pods")
    scripts = {each: folder.joinpath(module).read_text(encoding="utf-8") for each, module in SCRIPTS.items()}
    own = labels(assignment, options)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        # Kueue takes the labels of workloads only.
        "metadata": {
            "name": assignment.name,
            "labels": {key: value for key, value in own.items() if not key.startswith("kueue")},
            "annotations": {MARK: assignment.mark},
        },
        "data": {KEY: str(assignment.job), **scripts},
    }


def part_name(assignment: Assignment, uid: str, number: int) -> str:
    """Name of a part of the code; those of an older permit of the same name may still be on their way out."""
    return f"{assignment.name}-{uid[:8]}-{number}"


def part(assignment: Assignment, options: PodOptions, uid: str, number: int, data: str) -> Object:
    """One part of the code, Base64, that goes with the permit of ``uid``."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": part_name(assignment, uid, number),
            "labels": permit(assignment, options)["metadata"]["labels"],
            "ownerReferences": [owner(assignment, uid)],
        },
        "binaryData": {f"part-{number:03d}": data},
    }


def owner(assignment: Assignment, uid: str) -> Object:
    """Whom an object goes with: the permit of ``uid``."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": assignment.name, "uid": uid}
