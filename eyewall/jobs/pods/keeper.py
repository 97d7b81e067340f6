"""Runs beside a job in its pod where the store is out of reach: prints the output folder, packed, when the job ended.

``keep.py FOLDER MAX_BYTES``. The containers share one process namespace, and kubelets start a pod's containers in
their order, this one last: the job has ended when there is no other process but the pod's own first one. What is
printed stays in the container's log, which the dispatcher reads as it reads the job's; so no right to exec is needed.
"""

import base64
import io
import os
import signal
import sys
import tarfile
import time
from pathlib import Path

BEGIN, END, TOO_MUCH = "begin", "end", "too much"
LINE_CHARACTERS = 8192
_POLL_S = 0.2


def others() -> list[int]:
    """Processes of the pod, but for this one and the first."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _counts(int(entry.name))]


def _counts(pid: int) -> bool:
    return pid not in (1, os.getpid())


def pack(folder: Path, max_bytes: int) -> bytes:
    """The files of ``folder`` as a tar archive; links and devices stay behind. Raises ValueError for too much."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=6) as packed:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                packed.add(str(path), "out/" + str(path.relative_to(folder)), recursive=False)
            if buffer.tell() > max_bytes:
                break
    if buffer.tell() > max_bytes:
        raise ValueError("too much")
    return buffer.getvalue()


def main(folder: Path, max_bytes: int) -> None:
    """Wait, then print BEGIN, lines of Base64 and END; or TOO_MUCH; or nothing."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # told to go with the job, which may still write
    while others():
        time.sleep(_POLL_S)
    if not any(path.is_file() for path in folder.rglob("*")):
        return
    try:
        text = base64.b64encode(pack(folder, max_bytes)).decode()
    except ValueError:
        sys.stdout.write(TOO_MUCH + "\n")
        return
    lines = [text[at : at + LINE_CHARACTERS] for at in range(0, len(text), LINE_CHARACTERS)]
    sys.stdout.write("\n".join([BEGIN, *lines, END, ""]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
