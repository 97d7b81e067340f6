"""The base of every job: one frozen, typed object per step, which round-trips through ``eyewall <verb> …``.

A field becomes an option of the same name with dashes (or the name given by ``option=``), a tuple becomes a repeated
option, a flag becomes ``--flag/--no-flag``. But for the store, fields left at their default are not passed on, so that
a job's command stays short. Fields named ``*_ref`` take a path or URL of an artifact, or of the receipt that names it.
"""

from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eyewall.contracts.errors import ContractError
from eyewall.contracts.fields import Uri

TracksFormat = Literal["auto", "ibtracs", "jma", "atcf", "digital_typhoon"]


class Job(BaseModel):
    """What every step has: where artifacts live, and where the receipt of the result goes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verb: ClassVar[str]
    runner: ClassVar[str]  #: "module:function" that takes the job and returns its Receipt

    store: Uri = Field("var/store", description="artifact store: a folder or an fsspec URL (s3://bucket/prefix)")
    receipt: Uri | None = Field(None, description="file for the receipt of the result, inside the store")

    @classmethod
    def option_of(cls, field: str) -> str:
        """The command-line option of ``field``."""
        extra = cls.model_fields[field].json_schema_extra
        named = extra.get("option") if isinstance(extra, dict) else None
        return str(named) if named else "--" + field.replace("_", "-")

    def to_args(self) -> list[str]:
        """The command line after ``eyewall``, as a list for exec: no shell ever sees it."""
        args = [self.verb]
        values = self.model_dump(mode="json")
        for field, info in type(self).model_fields.items():
            value = values[field]
            # The store is always named: where the command runs, settings or the environment may have another default.
            is_default = not info.is_required() and getattr(self, field) == info.get_default(call_default_factory=True)
            if is_default and field != "store":
                continue
            option = self.option_of(field)
            if isinstance(value, bool):
                args.append(option if value else "--no-" + option.removeprefix("--"))
            elif isinstance(value, list):
                args += [f"{option}={item}" for item in value]
            elif value is not None:
                args.append(f"{option}={value}")
        return args

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """``values`` → job; every problem in one sentence. Raises ContractError."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = "; ".join(cls._problem(dict(problem)) for problem in error.errors())
            raise ContractError(f"{problems}; see eyewall {cls.verb} --help") from None

    @classmethod
    def _problem(cls, problem: dict[str, Any]) -> str:
        """One of pydantic's errors in words: the option, the value, what is wrong with it."""
        field = str(problem["loc"][0]) if problem["loc"] else cls.verb
        name = cls.option_of(field) if field in cls.model_fields else field
        if problem["type"] == "missing":
            return f"{name} ({field}) is required"
        return f"{'.'.join(map(str, problem['loc'])) or cls.verb} = {problem.get('input')!r}: {problem['msg']}"
