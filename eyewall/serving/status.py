"""Why a request is refused, in the codes of gRPC and of HTTP, and never seen outside of the server.

Which code and which sentence stands for what follows TensorFlow Serving's own server (server_core, predict_util,
http_rest_api_util), so that a client cannot tell the two apart by their refusals.
"""

from typing import Final

INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION = "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION"
UNAVAILABLE, UNIMPLEMENTED, INTERNAL, UNKNOWN = "UNAVAILABLE", "UNIMPLEMENTED", "INTERNAL", "UNKNOWN"
DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED = "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"

#: Status code → HTTP status; others are 500.
HTTP_STATUS: Final = {
    INVALID_ARGUMENT: 400,
    FAILED_PRECONDITION: 400,
    NOT_FOUND: 404,
    RESOURCE_EXHAUSTED: 429,
    UNIMPLEMENTED: 501,
    UNAVAILABLE: 503,
    DEADLINE_EXCEEDED: 504,
}

_LONGEST_MESSAGE = 2000  # gRPC carries it in a header, of which clients take 8 KiB


class StatusError(Exception):
    """A request that is refused: ``code`` is the name of a gRPC status code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message[:_LONGEST_MESSAGE])
        self.code = code

    @property
    def http_status(self) -> int:
        """The HTTP status that TensorFlow Serving's REST API answers with."""
        return HTTP_STATUS.get(self.code, 500)


def invalid(message: str) -> StatusError:
    """The request itself is wrong."""
    return StatusError(INVALID_ARGUMENT, message)


def not_found(message: str) -> StatusError:
    """No such model or version."""
    return StatusError(NOT_FOUND, message)
