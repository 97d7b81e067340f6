"""A link of a chosen bandwidth and round trip between a client and a server on one machine.

Two network namespaces with veth pairs shaped by tc where this process may make them (`namespaces`), else a proxy in
user space (`proxy`); a report names the one that was used.
"""

from collections.abc import Sequence
from typing import Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["namespaces", "proxy"]


class LinkSpec(BaseModel):
    """What a link gives: the same bandwidth each way."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bandwidth_bps: float | None = Field(None, gt=0, description="none: as fast as the machine")
    rtt_s: float = Field(0.0, ge=0, description="added to what the machine itself takes")

    @property
    def name(self) -> str:
        """``10 Mbps, 20 ms``."""
        return f"{bandwidth_text(self.bandwidth_bps)}, {self.rtt_s * 1000:g} ms"


def bandwidth_text(bandwidth_bps: float | None) -> str:
    """Bits per second in words: 1 Gbps, 100 Mbps, 56 kbps."""
    if bandwidth_bps is None:
        return "unshaped"
    for unit, size in (("Gbps", 1e9), ("Mbps", 1e6), ("kbps", 1e3)):
        if bandwidth_bps >= size:
            return f"{bandwidth_bps / size:g} {unit}"
    return f"{bandwidth_bps:g} bps"


class Link(Protocol):
    """A link that stands, in a with block; reshaped at any time, under running connections."""

    kind: Kind

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    @property
    def server_host(self) -> str:
        """Address for the server to listen on."""

    def as_client(self, args: Sequence[str]) -> list[str]:
        """The command line ``args`` at the client's end."""

    def as_server(self, args: Sequence[str]) -> list[str]:
        """The command line ``args`` at the server's end."""

    def address(self, port: int) -> str:
        """host:port for the client of what the server has at ``port``."""

    def shape(self, spec: LinkSpec) -> None:
        """Make the link so."""

    def describe(self) -> str:
        """One sentence for the report."""


def open_link(kind: Kind | Literal["auto"] = "auto") -> Link:
    """The best link that this machine allows, or the one that is asked for. Raises InputError when that is not had."""
    from eyewall.contracts.errors import InputError
    from eyewall.split.study.namespaces import NamespaceLink, why_not
    from eyewall.split.study.proxy import ProxyLink

    if kind == "proxy":
        return ProxyLink("asked for")
    reason = why_not()
    if reason is None:
        return NamespaceLink()
    if kind == "namespaces":
        raise InputError(f"no network namespaces here: {reason}; run as root, or take --link proxy")
    return ProxyLink(reason)
