"""From a worker to the runner that acts on it: each kind is a module of its own, imported when one is met."""

from importlib import import_module

from eyewall.contracts.errors import ContractError
from eyewall.jobs.runner import Runner, Worker
from eyewall.storage import Store

RUNNERS = {
    "process": "eyewall.jobs.process.runner:ProcessRunner",
    "docker": "eyewall.jobs.docker.runner:DockerRunner",
    "kubernetes": "eyewall.jobs.pods.runner:PodRunner",
}


def runner_for(worker: Worker, store: Store) -> Runner:
    """The runner of ``worker``, which puts what jobs leave into ``store``.

    Raises ContractError for a kind that is none, or whose client is not installed.
    """
    try:
        module, _, name = RUNNERS[worker.kind].partition(":")
    except KeyError:
        raise ContractError(
            f"worker {worker.name} is of kind {worker.kind!r}: kinds are {', '.join(RUNNERS)}"
        ) from None
    try:
        made: Runner = getattr(import_module(module), name)(worker, store)
    except ModuleNotFoundError as error:
        raise ContractError(
            f"worker {worker.name} is of kind {worker.kind}, which needs {error.name}: install eyewall[jobs]"
        ) from None
    return made
