"""A step's container on a Docker engine: DockerOperator with the house's defaults, and with a way to take over.

Started, followed line by line, removed at its end; found again by its name where the task that began it was killed.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from airflow.providers.docker.operators.docker import DockerOperator
from airflow.sdk import Context
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import AirflowException
from docker.errors import APIError, DockerException, NotFound
from docker.types import DeviceRequest, LogConfig
from requests.exceptions import RequestException

from eyewall.contracts.errors import EXIT_UNAVAILABLE
from eyewall.contracts.placement import Resources
from operators.object_names import sum_of
from operators.outcome import Outcome, OutputReader
from operators.process import GRACE_S

#: Says what a container was made for, so that a found one is known to do the same work.
FINGERPRINT_LABEL = "eyewall.fingerprint"
#: How long the engine may take between reserving a name and showing its container.
CONFLICT_S = 10.0


class StepContainer(DockerOperator):
    """DockerOperator with the house's defaults; its execute returns an Outcome instead of raising for exit codes.

    :param image: image of the step; pulled when the engine has none of that name
    :param args: what goes after ``eyewall``
    :param resources: limits of the container
    :param say: takes each line of its output
    """

    # Nothing is a template here: StepOperator has rendered the fields before, and output must not be rendered again.
    template_fields: Sequence[str] = ()

    def __init__(
        self, *, image: str, args: Sequence[str], resources: Resources, say: Callable[[str], None], **kwargs: Any
    ) -> None:
        super().__init__(
            image=image,
            command=list(args),
            # The provider's default binds a folder of Airflow's own machine, which the engine may not have.
            mount_tmp_dir=False,
            # Ours, in `_run_image`: the provider's "force" would also remove what a lost connection has to find again.
            auto_remove="never",
            # The last line of output is no result of a step: its summary and its receipt are.
            do_xcom_push=False,
            cpus=resources.cpus,
            mem_limit=resources.bytes_of("memory"),
            # 64 MiB, Docker's default, is too small for TensorFlow's and NCCL's shared memory.
            shm_size=resources.bytes_of("shm"),
            device_requests=gpus(resources.gpus),
            # An old engine speaks an older version of the API than the client's own.
            api_version="auto",
            **kwargs,
        )
        self._resources = resources
        self._say = say
        self._fingerprint = sum_of(image, args, user=self.user)

    def run(self, context: Context) -> Outcome:
        """Run the container to its end. Raises AirflowException where the engine cannot be reached."""
        # As Airflow's task runner does it; without, Airflow warns in every log that an operator runs in another.
        guard = {f"{type(self).__name__}__sentinel": ExecutorSafeguard.sentinel_value}
        try:
            return cast(Outcome, cast(Callable[..., Any], self.execute)(context, **guard))
        except APIError as error:
            return Outcome(EXIT_UNAVAILABLE, {}, f"container of {self.image}: {_reason(error)}")
        except (DockerException, RequestException) as error:
            raise AirflowException(
                f"lost the Docker engine at {self.docker_url}, the next try looks for {self.container_name}: {error}"
            ) from None

    def _run_image(self) -> Any:
        """In place of the provider's (4.6), which creates, follows and removes in one go and has no way to reattach."""
        self._take_over_or_create()
        try:
            outcome = self._follow()
        except (DockerException, RequestException):
            raise  # it may be running still: the next try finds it
        except BaseException:  # the task's time is up, or somebody stops it
            self.stop()
            raise
        self._remove()
        return outcome

    def _take_over_or_create(self) -> None:
        """Find or make the container of this name, running or ended; another try may do the same at this moment."""
        found = self._find()
        if found is not None and not self._is_ours(found):
            self._say(f"removing container {self.container_name}: it was left by another command")
            self._remove(found["Id"])
            found = None
        if found is not None:
            self.container = found
            self._say(f"found container {self.container_name} again: {found['State']['Status']}")
            if found["State"]["Status"] != "created":
                return
        else:
            self._create()
            self._say(f"container {self.container_name} of {self.image}")
        self._start()

    def _find(self) -> dict[str, Any] | None:
        try:
            return cast(dict[str, Any], self.cli.inspect_container(self.container_name))
        except NotFound:
            return None

    def _is_ours(self, found: Mapping[str, Any]) -> bool:
        """Whether it does what this one would do, and is not on its way out."""
        same = (found["Config"].get("Labels") or {}).get(FINGERPRINT_LABEL) == self._fingerprint
        return same and found["State"]["Status"] not in {"dead", "removing"}

    def _create(self) -> None:
        labels = {**cast(dict[str, str], self.labels or {}), FINGERPRINT_LABEL: self._fingerprint}
        host_config = self.cli.create_host_config(
            mounts=self.mounts,
            network_mode=self.network_mode,
            shm_size=self.shm_size,
            device_requests=self.device_requests,
            # A hard limit, so that two steps do not starve each other; the provider's `cpus` are only shares.
            nano_cpus=round(self.cpus * 1e9),
            mem_limit=self.mem_limit,
            # The same with swap: a step that outgrows its memory ends at once, instead of stalling the host.
            memswap_limit=self.mem_limit,
            # A training starts workers: what they leave behind needs a PID 1 that reaps it.
            init=True,
            pids_limit=4096,
            # A step reads untrusted files. It needs no capability, and writes to the store and to /tmp only.
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            read_only=True,
            tmpfs={"/tmp": "rw,nosuid,nodev,mode=1777"},  # noqa: S108 - the container's own
            # Readable again after a killed task whatever the engine's default driver is, and never a full disk.
            log_config=LogConfig(type="json-file", config={"max-size": "100m", "max-file": "2"}),
        )
        try:
            self.container = self.cli.create_container(
                image=self.image,
                command=self.command,
                name=self.container_name,
                environment={**self.environment, **self._private_environment},
                host_config=host_config,
                user=self.user,
                labels=labels,
            )
        except APIError as error:
            if error.status_code != 409:
                raise
            self.container = self._made_by_another()

    def _made_by_another(self) -> dict[str, Any]:
        """The container that another try of the same task is making: its name is taken before it can be found."""
        deadline = time.monotonic() + CONFLICT_S
        while (found := self._find()) is None:
            if time.monotonic() > deadline:
                raise DockerException(f"the name {self.container_name} is taken, but no container has it")
            time.sleep(0.1)
        return found

    def _start(self) -> None:
        """Start it. What cannot be started is removed: the next try may have another image, or a GPU."""
        try:
            self.cli.start(self.container["Id"])
        except APIError:
            self._remove()
            raise

    def _follow(self) -> Outcome:
        """Pass its output on, from its first line, until it has ended."""
        reader = OutputReader(self._say)
        for line in lines(self.cli.logs(self.container["Id"], stdout=True, stderr=True, stream=True, follow=True)):
            reader.take(line)
        self.cli.wait(self.container["Id"])
        state = self.cli.inspect_container(self.container["Id"])["State"]
        outcome = reader.outcome(int(state["ExitCode"]))
        if state.get("OOMKilled"):
            memory = self._resources.memory
            return outcome._replace(sentence=f"killed by the kernel: it needs more memory than its limit of {memory}")
        return outcome

    def _remove(self, container_id: str | None = None) -> None:
        """Remove it, whatever it does; harmless when it is gone, or somebody else removes it."""
        with contextlib.suppress(APIError):
            self.cli.remove_container(container_id or self.container["Id"], force=True)

    def stop(self) -> None:
        """SIGTERM, GRACE_S, SIGKILL, and remove it. Harmless before it was made, and after its end."""
        if self.container is None:
            return
        with contextlib.suppress(DockerException, RequestException):
            self.cli.stop(self.container["Id"], timeout=int(GRACE_S))
            self._remove()


def gpus(count: int) -> list[DeviceRequest] | None:
    """As ``docker run --gpus <count>``; needs NVIDIA's container toolkit on the host."""
    return [DeviceRequest(count=count, capabilities=[["gpu"]])] if count else None


def lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Chunks of a log, cut anywhere → its lines; what is not UTF-8 is replaced."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")


def _reason(error: APIError) -> str:
    """The engine's own sentence, with the remedy for the two that everybody meets once."""
    text = " ".join(str(error.explanation or error).split())
    if (isinstance(error, NotFound) and "image" in text.lower()) or "pull access denied" in text:
        return f"{text}; make the image with `make images`, or name another in [docker] images"
    if "device driver" in text:
        return f"{text}; install NVIDIA's container toolkit, or ask for no gpus in [docker.resources]"
    return text
