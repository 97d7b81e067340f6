"""What a user asks of the job platform: a command in an environment, on so many GPUs; nothing about servers.

The same submission comes from the command line, from the form of the ``job`` DAG and over REST. Nothing in it reaches
a shell: a command is a list of arguments, and stays one down to the call that executes it.
"""

import re
import shlex
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from eyewall.contracts.errors import ContractError
from eyewall.contracts.fields import NAME_PATTERN, Name, Uri
from eyewall.contracts.layout import safe_key

#: Environment variables that a job gets; it may not choose their values, nor those that change what its program loads.
RESERVED_PREFIXES: Final = ("EYEWALL_", "LD_", "PYTHON", "CUDA_VISIBLE", "NVIDIA_", "AIRFLOW")
MAX_ARGUMENTS, MAX_COMMAND_CHARACTERS, MAX_KEY = 256, 16_000, 250


def _path_in_the_store(value: str) -> str:
    """A relative path of the store, or a URL of another one."""
    if "://" in value:
        return value
    parts = value.split("/")
    if value.startswith("/") or ".." in parts or "\\" in value:
        raise ValueError(f"{value!r} is no path inside the store: leave out a leading / and ..")
    return value.strip("/")


#: Code or data: a path inside the store, or the URL of a folder or archive elsewhere.
StoreUrl = Annotated[Uri, AfterValidator(_path_in_the_store)]
Generation = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,39}$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]


def key_of(dag_id: str, run_id: str, task_id: str) -> str:
    """The key of what a task of Airflow asks for: the same however often it asks, and no other task's."""
    key = f"{dag_id}/{run_id}/{task_id}"
    return key if len(key) <= MAX_KEY else safe_key(key)


def owner_of(user: str) -> str:
    """The owner of the jobs of a user of Airflow: his name, or one made of it where jobs cannot have it."""
    return user if re.fullmatch(NAME_PATTERN, user) else safe_key(user).lstrip("_=-")


class Submission(BaseModel):
    """One job as it is asked for; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: tuple[str, ...] = Field(description="program and arguments; never a shell's line")
    environment: Name = Field(description="framework environment, as `eyewall env list` names it")
    code: StoreUrl | None = Field(None, description="folder or archive in the store, put into the job's /work/code")
    data: tuple[StoreUrl, ...] = Field((), description="folders of the store that the job may read")
    gpus: int = Field(1, ge=1, le=64, description="GPUs, all of one host")
    generations: tuple[Generation, ...] = Field((), description="GPU generations that will do; none: any")
    memory_gb: float = Field(0.0, ge=0, le=4096, description="memory that each GPU must have, GiB")
    priority: int = Field(5, ge=0, le=9, description="0 to 9; each step is worth one ageing interval in the queue")
    after: tuple[int, ...] = Field((), description="jobs that must have succeeded before")
    max_hours: float | None = Field(None, gt=0, le=24 * 365, description="ended, as failed, after so long")
    max_attempts: int = Field(3, ge=1, le=100, description="attempts in all, where a host or a container is lost")
    variables: dict[Variable, str] = Field(default_factory=dict, description="environment variables of the job")
    name: Name | None = Field(None, description="for people; need not be unique")
    owner: Name = Field(description="who asks; fair share is by owner")
    key: Annotated[str, Field(min_length=1, max_length=MAX_KEY)] | None = Field(
        None, description="submitting the same key again gives the job that is there"
    )

    @field_validator("command", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        """One text, as a form gives it, is split as a shell would split it, and run without one."""
        if not isinstance(value, str):
            return value
        try:
            return shlex.split(value)
        except ValueError as error:
            raise ValueError(f"{value!r} cannot be split into words: {error}") from None

    @field_validator("command")
    @classmethod
    def _some_words(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        if not command or not command[0].strip():
            raise ValueError("the command is empty: give a program and its arguments")
        if any("\x00" in word for word in command):
            raise ValueError("the command holds a NUL character, which no program can be given")
        if len(command) > MAX_ARGUMENTS or sum(map(len, command)) > MAX_COMMAND_CHARACTERS:
            raise ValueError(
                f"the command has {len(command)} words of {sum(map(len, command))} characters: at most {MAX_ARGUMENTS}"
                f" and {MAX_COMMAND_CHARACTERS}; put more into a file of the code"
            )
        return command

    @field_validator("variables")
    @classmethod
    def _own_variables(cls, variables: dict[str, str]) -> dict[str, str]:
        for name, value in variables.items():
            if name.upper().startswith(RESERVED_PREFIXES) or name.upper() == "PATH":
                raise ValueError(f"variable {name} is the platform's own: choose another name")
            if "\x00" in value or len(value) > MAX_COMMAND_CHARACTERS:
                raise ValueError(f"variable {name} holds a NUL character or is too long")
        return variables

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """A submission of outside values. Raises ContractError naming the field and the offending value."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "job"
            raise ContractError(f"{where} = {first.get('input')!r}: {first['msg']}") from None
