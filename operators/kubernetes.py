"""The ``kubernetes`` backend: a step as a pod, a training of several replicas as a gang of pods."""

from typing import Any

from airflow.sdk import BaseOperator, Context

from eyewall.contracts.errors import ContractError
from eyewall.contracts.jobs import Job, TrainJob
from eyewall.contracts.settings import Settings
from operators.gang_members import is_gang
from operators.outcome import Outcome
from operators.step_pod import StepPod


class KubernetesBackend:
    """Makes the operator that fits the job, and speaks for it."""

    def __init__(self, settings: Settings, task: BaseOperator) -> None:
        """``task`` gives the pod its time limit."""
        self._settings = settings
        self._task = task
        self._operator: StepPod | None = None

    def run(self, job: Job, context: Context) -> Outcome:
        """Start or find the pods, and defer; the end at once if they have ended already."""
        return self._go_on(job, context, None)

    def resume(self, job: Job, context: Context, event: dict[str, Any]) -> Outcome:
        """Go on with what the triggerer has seen; in another process than `run`."""
        return self._go_on(job, context, event)

    def stop(self) -> None:
        """Delete the pods."""
        if self._operator is not None:
            self._operator.on_kill()

    def _go_on(self, job: Job, context: Context, event: dict[str, Any] | None) -> Outcome:
        # Not by `execute`: Airflow refuses to run an operator inside another, whose exceptions it could not tell apart.
        try:
            seen = as_pods_see_it(job, self._settings)
        except ContractError as error:
            return Outcome(error.exit_code, {}, str(error))
        options: dict[str, Any] = {
            "settings": self._settings,
            "job": seen,
            "task_id": self._task.task_id,
            "execution_timeout": self._task.execution_timeout,
        }
        kind: type[StepPod] = StepPod
        if isinstance(seen, TrainJob) and is_gang(seen):
            from operators.distributed_training import DistributedTrainingOperator

            kind = DistributedTrainingOperator
        operator = self._operator = kind(**options)
        return operator.run_pod(context, event)


def as_pods_see_it(job: Job, settings: Settings) -> Job:
    """``job`` with its store as pods see it. Raises ContractError for one that they cannot see."""
    own = settings.kubernetes
    store = own.store or job.store
    folder = store.removeprefix("file://")
    if "://" not in folder and not any(_holds(mount.target, folder) for mount in own.mounts if not mount.read_only):
        raise ContractError(
            f"pods cannot see the store {store!r}: give kubernetes.store as a URL, or as a folder below a mount of "
            "kubernetes.mounts with read_only = false"
        )
    return job.model_copy(update={"store": store})


def _holds(folder: str, path: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
