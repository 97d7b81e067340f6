"""The link to a model server: requests that are out at once, and what the end of each means.

Speaks PredictionService's Predict to TensorFlow Serving or `eyewall serve`; TLS and token as `eyewall.serving.access`
says. Each request carries its frames' ids in the header ``eyewall-frame-id``, for the server's or a proxy's log.
"""

import logging
import time
from collections.abc import Callable
from enum import Enum
from typing import Any

from eyewall.contracts.errors import EyewallError, ServingError
from eyewall.contracts.split import CONTRACT
from eyewall.serving.access import ClientAccess
from eyewall.split.edge import messages
from eyewall.split.edge.packet import Array, Packet

_log = logging.getLogger("eyewall.edge")
_MESSAGE_BYTES = 64 * 2**20
#: How the tail's graph begins its refusal of another head (`eyewall.split.tail`).
OTHER_SPLIT = "features of another split"
_MOST_IDS = 2000  # characters of the header; servers take 8 KiB of them


class End(Enum):
    """What the end of a request asks for."""

    ANSWERED = "answered"
    AWAY = "away"  #: nobody there, too slow, not let in, not served yet: the same again later
    REFUSED = "refused"  #: these frames; the same again would be refused again
    OTHER_SPLIT = "other split"  #: head and tail do not belong together: no frame can pass


class Call:
    """One request that is out."""

    def __init__(self, packet: Packet, future: Any, request_bytes: int, began_s: float) -> None:
        self.packet, self.bytes, self.began_s = packet, request_bytes, began_s
        self._future = future
        self.ended_s = 0.0  #: monotonic clock, once it has ended
        self.bytes_down = 0

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return bool(self._future.done())

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self._future.cancel()

    def end(self) -> tuple[End, str, dict[str, Array], int]:
        """How it ended, why, the outputs and the version; waits for it where it has not."""
        import grpc

        try:
            data = self._future.result()
            self.bytes_down = len(data)
            outputs, version = messages.predict_response(data, len(self.packet.keys))
            return End.ANSWERED, "", outputs, version
        except ServingError as error:  # an answer that is none: the server is at fault, not the frame
            return End.AWAY, str(error), {}, 0
        except grpc.FutureCancelledError:
            return End.AWAY, "cancelled", {}, 0
        except grpc.RpcError as error:
            code, details = error.code(), error.details() or ""
            return _meaning(code.name, details), f"{code.name}: {details}", {}, 0


def _meaning(code: str, details: str) -> End:
    if code in ("INVALID_ARGUMENT", "OUT_OF_RANGE"):
        return End.OTHER_SPLIT if OTHER_SPLIT in details else End.REFUSED
    # RESOURCE_EXHAUSTED is either a message that is too large, which stays so, or a server that has too much to do.
    if code == "RESOURCE_EXHAUSTED" and ("larger than max" in details or "claims" in details):
        return End.REFUSED
    return End.AWAY


class Link:
    """One channel, made anew when it seems frozen."""

    def __init__(self, address: str, access: ClientAccess, wake: Callable[[], None]) -> None:
        """``wake`` is called, from any thread, whenever a request ends. Raises InputError as `ClientAccess` does."""
        self.address, self._access, self._wake = address, access, wake
        self._connect()

    def _connect(self) -> None:
        self._channel = self._access.channel(
            self.address,
            [
                ("grpc.max_receive_message_length", _MESSAGE_BYTES),
                ("grpc.max_send_message_length", _MESSAGE_BYTES),
                ("grpc.initial_reconnect_backoff_ms", 200),
                ("grpc.max_reconnect_backoff_ms", 2000),
                ("grpc.use_local_subchannel_pool", 1),  # a new channel is a new connection
            ],
        )
        self._predict = self._channel.unary_unary(messages.PREDICT)
        self._status = self._channel.unary_unary(messages.STATUS)

    def renew(self) -> None:
        """Leave the connection behind: a frozen one would be believed in for minutes."""
        self._channel.close()
        self._connect()

    def close(self) -> None:
        """Close it; requests that are out end as cancelled."""
        self._channel.close()

    def send(self, packet: Packet, timeout_s: float) -> Call:
        """Begin a request."""
        texts = {CONTRACT: packet.digest} if packet.digest else None
        request = messages.predict_request(packet.model, packet.tensors, texts)
        ids = ",".join(key.id for key in packet.keys)[:_MOST_IDS]
        began_s = time.monotonic()
        metadata = (*self._access.metadata(), ("eyewall-frame-id", ids))
        future = self._predict.future(request, timeout=timeout_s, metadata=metadata)
        call = Call(packet, future, len(request), began_s)

        def ended(_: Any) -> None:
            call.ended_s = time.monotonic()
            self._wake()

        future.add_done_callback(ended)
        return call

    def ping(self, model: str, heard: Callable[[float], None], timeout_s: float = 5.0) -> None:
        """Ask something small; ``heard`` gets the seconds it took, from another thread, if it is answered at all."""
        import grpc

        began_s = time.monotonic()
        request = messages.status_request(model)
        future = self._status.future(request, timeout=timeout_s, metadata=self._access.metadata())

        def ended(done: Any) -> None:
            # A refusal travels as far as an answer does.
            if not done.cancelled() and done.code() in (grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND):
                heard(time.monotonic() - began_s)

        future.add_done_callback(ended)


def failure(address: str, why: str) -> EyewallError:
    """The error of an edge that gives up waiting for its server."""
    return ServingError(
        f"model server {address} does not answer ({why}): what was computed waits in the spool; start the edge again"
        " when the link is back"
    )
