"""What the platform tells a job, whatever runs it: variables that a submission cannot set."""

import json
from collections.abc import Sequence

from eyewall.jobs.runner import Assignment


def told(assignment: Assignment, code: str, data: Sequence[str], out: str) -> dict[str, str]:
    """The variables ``EYEWALL_…`` of a job.

    ``code``, ``out``: folders, as the job sees them. ``data``: where it finds each of its data, a folder or a URL. All
    of these in one variable can be taken apart where none is a URL only, hence the other two ways to say it.
    """
    return {
        "EYEWALL_JOB": str(assignment.job),
        "EYEWALL_ATTEMPT": str(assignment.number),
        "EYEWALL_CODE": code,
        "EYEWALL_DATA": ":".join(data),
        "EYEWALL_DATA_JSON": json.dumps(list(data)),
        **{f"EYEWALL_DATA_{number}": place for number, place in enumerate(data)},
        "EYEWALL_OUT": out,
        "EYEWALL_GPUS": str(len(assignment.gpus)),
    }
