"""Where framework environments are kept and of what they are made: the table ``[environments]`` of the settings.

[environments]
registry = "127.0.0.1:5000"          # host:port, and a path if it wants one; the engines of all workers pull from it
base = "python:{python}-slim-bookworm"
recipes = "images"                   # folder of environments.yaml; default: the project's images/
build_network = "host"               # network of the steps of a build, which install packages
"""

from pydantic import BaseModel, ConfigDict, Field

_REGISTRY = r"^[a-z0-9]([a-z0-9.-]{0,200}[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([._-][a-z0-9]+)*){0,4}$"


class EnvironmentsSettings(BaseModel):
    """One registry, one base image, one list of recipes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    registry: str = Field("127.0.0.1:5000", pattern=_REGISTRY, description="where images are pushed and pulled")
    base: str = Field(
        "python:{python}-slim-bookworm",
        pattern=r"^[a-z0-9][A-Za-z0-9._/:@{}-]{0,250}$",
        description="base image; {python} stands for the environment's Python, such as 3.11",
    )
    recipes: str | None = Field(None, description="folder that holds environments.yaml; default: the project's images/")
    build_network: str = Field("host", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$")
