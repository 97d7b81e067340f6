"""Names of what a task makes on a cluster: they follow from the task alone, so that a later try finds them again."""

import hashlib
import re
from collections.abc import Sequence

from eyewall.contracts.layout import digest_of

JOB_ANNOTATION = "eyewall.io/job"  #: on a step's pod: sum of its image and command line, to know whose pod it is


def slug_and_key(store: str, dag_id: str, run_id: str, task_id: str, map_index: int, width: int) -> tuple[str, str]:
    """(readable, distinct): parts of a DNS label, for any run id.

    The slug has at most ``width`` characters, and may be empty; the key differs between tasks, and between
    installations, which are told apart by their ``store``.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", f"{dag_id}-{task_id}".lower()).strip("-")[:width].strip("-")
    key = hashlib.sha256("\0".join((store, dag_id, run_id, task_id, str(map_index))).encode()).hexdigest()[:10]
    return slug, key


def sum_of(image: str | None, args: Sequence[str], **more: str | int | None) -> str:
    """Hexadecimal; by what a pod or container does it is known whether the one of a task's name is that task's."""
    return digest_of({"image": image, "args": list(args), **more})
