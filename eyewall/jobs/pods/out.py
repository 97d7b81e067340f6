"""The output of a job whose pod has no common store: from the log of the keeper beside it into the store.

Nothing of it is trusted: a job can write into its keeper's log.
"""

import base64
import binascii
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from eyewall.contracts.errors import EyewallError
from eyewall.jobs.kept import LEFT_OUT, keep_folder, take
from eyewall.jobs.pods.keeper import BEGIN, END, TOO_MUCH
from eyewall.storage import Store

#: Kubelets keep the last 10 MiB of a container's log at least; as Base64 this is 8 of them.
MAX_PACKED_BYTES = 6 * 2**20
#: A few megabytes of an archive can stand for terabytes.
MAX_UNPACKED_BYTES = 2**30


def take_out(lines: Iterable[str], store: Store, path: str) -> None:
    """Put what a keeper printed below ``path`` of the store.

    Raises EyewallError where the output was too large for this way, or did not come whole.
    """
    given = iter(lines)
    first = next(given, None)
    if first is None:
        return  # nothing was left
    if first == TOO_MUCH:
        raise EyewallError(
            f"it is more than {MAX_PACKED_BYTES:,} bytes, packed, which is all that gets out of a cluster without a"
            " common store: give the worker the option store"
        )
    if first != BEGIN:
        raise EyewallError(f"its keeper says {first[:100]!r} instead of handing it over")
    with tempfile.TemporaryDirectory(prefix="eyewall-out-") as folder:
        try:
            pieces = _unpacked(given)
            notes = take(pieces, Path(folder), MAX_UNPACKED_BYTES)
            for _ in pieces:
                pass  # to see its end
        except (tarfile.TarError, zlib.error, binascii.Error, EOFError) as error:
            raise EyewallError(f"it did not come whole out of its pod: {error}") from None
        if notes:
            Path(folder, LEFT_OUT).write_text("\n".join([*notes, ""]), encoding="utf-8")
        keep_folder(store, path, Path(folder))


def _unpacked(lines: Iterable[str]) -> Iterator[bytes]:
    """Lines of Base64 → pieces of the tar; at most a megabyte at once, whatever they claim to hold."""
    packed, total = zlib.decompressobj(wbits=31), 0
    for line in lines:
        if line == END:
            return
        rest = base64.b64decode(line, validate=True)
        while rest:
            piece = packed.decompress(rest, 2**20)
            total += len(piece)
            if total > 2 * MAX_UNPACKED_BYTES:
                return  # what it takes to see the end of that, nobody gives
            yield piece
            rest = packed.unconsumed_tail
    raise EOFError("its end is missing")
