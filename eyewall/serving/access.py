"""Who may talk to a model server, and over what: TLS and a bearer token, on both sides, for gRPC and REST.

TensorFlow Serving checks no token; a proxy before it does (Envoy, nginx with ``grpc_pass``), and clients cannot tell
the two apart. The token comes from the environment or a file, never from a command line, where every user of the
machine could read it, and it is never sent in the clear but to this machine itself.

    EYEWALL_SERVER_TOKEN         the token: what the server wants, what the client sends
    EYEWALL_SERVER_TOKEN_FILE    a file with it instead; read anew when it changes, so a token is renewed in place
    EYEWALL_SERVER_CA            file of certificates (PEM) that clients trust; it switches TLS on
    EYEWALL_SERVER_TLS           1: TLS with the certificates that the machine trusts anyway

Source of the header: RFC 6750, section 2.1.
"""

import hmac
import ipaddress
import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from eyewall.contracts.errors import InputError

_HEADER, _SCHEME = "authorization", "Bearer "
_LONGEST_TOKEN = 8000  # gRPC takes 8 KiB of headers


class Token:
    """A secret from the environment or a file; a file is read again when it has changed."""

    def __init__(self, text: str | None = None, file: Path | None = None) -> None:
        """Give one of both. Raises InputError when the file cannot be read, or what it holds is no token."""
        self._text, self._file = text, file
        self._stamp: tuple[int, int] | None = None
        self._checked = _checked(text, "EYEWALL_SERVER_TOKEN") if text is not None else ""
        self.read()

    @classmethod
    def of_environment(cls, file: str | None = None, environ: Mapping[str, str] = os.environ) -> Self | None:
        """The token of ``file``, or of EYEWALL_SERVER_TOKEN_FILE, or EYEWALL_SERVER_TOKEN; None where none is set."""
        named = file or environ.get("EYEWALL_SERVER_TOKEN_FILE")
        if named:
            return cls(file=Path(named))
        text = environ.get("EYEWALL_SERVER_TOKEN")
        return cls(text=text) if text else None

    def read(self) -> str:
        """The token now. A file that is away for a moment, or empty while it is written, leaves the last one."""
        if self._file is not None:
            try:
                status = self._file.stat()
                if (stamp := (status.st_mtime_ns, status.st_size)) != self._stamp:
                    self._checked = _checked(self._file.read_text(), str(self._file))
                    self._stamp = stamp
            except (OSError, UnicodeDecodeError) as error:
                if not self._checked:
                    raise InputError(f"token file {self._file} cannot be read: {error}") from None
            except InputError:
                if not self._checked:
                    raise
        return self._checked

    def fits(self, header: str) -> bool:
        """Whether an Authorization header brings this token; takes as long for a wrong one as for the right one."""
        return hmac.compare_digest(header.encode(), (_SCHEME + self.read()).encode())


def _checked(text: str, where: str) -> str:
    token = text.strip()
    if not token or len(token) > _LONGEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise InputError(
            f"the token in {where} is empty, longer than {_LONGEST_TOKEN} characters or not plain ASCII without"
            " spaces: make one with openssl rand -hex 32"
        )
    return token


@dataclass(frozen=True)
class ServerAccess:
    """What a server wants of those who ask, and the certificate that it shows; nothing of both is the default."""

    token: Token | None = None
    certificate: Path | None = None
    key: Path | None = None

    @classmethod
    def of(cls, certificate: str | None, key: str | None, token_file: str | None = None) -> Self:
        """From options and environment. Raises InputError when one of certificate and key is missing or unusable."""
        if (certificate is None) != (key is None):
            raise InputError("TLS needs both: give --tls-cert and --tls-key, two files in PEM")
        access = cls(
            Token.of_environment(token_file), Path(certificate) if certificate else None, Path(key) if key else None
        )
        access.ssl_context()
        return access

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.certificate is not None

    def ssl_context(self) -> ssl.SSLContext | None:
        """For REST; None without TLS. Raises InputError when certificate and key do not make a pair."""
        if self.certificate is None or self.key is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise InputError(
                f"certificate {self.certificate} and key {self.key} do not make a pair in PEM: {error}"
            ) from None
        return context

    def allows(self, header: str) -> bool:
        """Whether a request with this Authorization header is let in."""
        return self.token is None or self.token.fits(header)

    def add_port(self, server: Any, address: str) -> int:
        """Let a gRPC server listen on ``address``, encrypted where there is a certificate; the port it got."""
        if self.certificate is None or self.key is None:
            return int(server.add_insecure_port(address))
        import grpc

        pair = (self.key.read_bytes(), self.certificate.read_bytes())
        return int(server.add_secure_port(address, grpc.ssl_server_credentials([pair])))

    def interceptors(self) -> Sequence[Any]:
        """For a gRPC server: a request without the token ends before a byte of its message is read."""
        return [_make_interceptor(self)] if self.token is not None else []


def _make_interceptor(access: ServerAccess) -> Any:
    import grpc

    def refuse(_request: Any, context: Any) -> None:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "this server wants a bearer token, and this one is not it")

    # As a stream, because a message that is no stream is read whole before its handler is called.
    refusal = grpc.stream_unary_rpc_method_handler(refuse)

    class WantsToken(grpc.ServerInterceptor):  # type: ignore[misc]
        """Passes on what brings the token."""

        def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
            """The handler of the call, or the one that refuses."""
            given = [str(value) for key, value in details.invocation_metadata if key == _HEADER]
            return continuation(details) if len(given) == 1 and access.allows(given[0]) else refusal

    return WantsToken()


@dataclass(frozen=True)
class ClientAccess:
    """What a client sends and whom it trusts; nothing of both is the default."""

    token: Token | None = None
    tls: bool = False
    trusted: bytes | None = None  #: certificates in PEM; None: those of the machine

    @classmethod
    def of_environment(
        cls, ca: str | None = None, token_file: str | None = None, environ: Mapping[str, str] = os.environ
    ) -> Self:
        """From options, which go first, and the environment. Raises InputError for a file that cannot be read."""
        named = ca or environ.get("EYEWALL_SERVER_CA")
        try:
            trusted = Path(named).read_bytes() if named else None
        except OSError as error:
            raise InputError(f"file of certificates {named!r} cannot be read: {error.strerror}") from None
        tls = trusted is not None or environ.get("EYEWALL_SERVER_TLS") == "1"
        return cls(Token.of_environment(token_file, environ), tls, trusted)

    def channel(self, address: str, options: Sequence[tuple[str, Any]]) -> Any:
        """A gRPC channel to ``address``. Raises InputError rather than send a token in the clear to another machine."""
        import grpc

        if self.tls:
            return grpc.secure_channel(address, grpc.ssl_channel_credentials(self.trusted), options=list(options))
        if self.token is not None and not _is_loopback(address):
            raise InputError(
                f"a token would go to {address} in the clear: set EYEWALL_SERVER_CA to its certificate, or"
                " EYEWALL_SERVER_TLS=1 where the machine trusts it anyway"
            )
        return grpc.insecure_channel(address, options=list(options))

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Headers of one call, with the token as it is now."""
        return () if self.token is None else ((_HEADER, _SCHEME + self.token.read()),)


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
