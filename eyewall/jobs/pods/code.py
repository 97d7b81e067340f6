"""How code, data and output get into a job's pod and out of it.

Where the worker's option ``store`` names the artifact store as the cluster has it, its sub paths are mounted: the code
and the data for reading, and the attempt's own output folder, which then needs no bringing. Nothing else of the store
is to be seen in the pod. Without it, the code travels through the API server as parts of one archive, in ConfigMaps of
the attempt: no right to exec into pods, no credentials in them, no server of ours that pods would have to reach.
"""

import base64
import gzip
import io
import re
import tarfile

from eyewall.contracts.errors import ContractError
from eyewall.jobs.code_files import code_files
from eyewall.jobs.pods.manifest import DATA_DIR
from eyewall.jobs.pods.options import PodOptions
from eyewall.jobs.runner import Assignment
from eyewall.storage import Store

#: A ConfigMap holds 1 MiB; as Base64 in JSON it stays below the 1.5 MiB of a request to etcd.
PART_BYTES = 900 * 1024
#: etcd is no file server: its default size is 2 GiB.
MAX_CODE_BYTES = 12 * PART_BYTES


def parts_of(store: Store, code: str) -> list[str]:
    """The code as parts of one archive, each Base64. Raises ContractError where it is missing, hostile or too large."""
    packed = io.BytesIO()
    # No time in it: a dispatcher that goes on with what another one began makes the rest of the very same parts.
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=6, mtime=0) as squeezed,
        tarfile.open(fileobj=squeezed, mode="w") as tar,
    ):
        for file in code_files(store, code):
            entry = tarfile.TarInfo(file.path)
            entry.size, entry.mode = file.size, 0o755 if file.executable else 0o644
            tar.addfile(entry, file.content)
            if packed.tell() > MAX_CODE_BYTES:
                raise ContractError(
                    f"code {code!r} is more than {MAX_CODE_BYTES:,} bytes, packed, which is all that gets into a"
                    " cluster without a common store: give the worker the option store, or large files as data"
                )
    whole = packed.getvalue()
    return [base64.b64encode(whole[at : at + PART_BYTES]).decode() for at in range(0, len(whole), PART_BYTES)]


def data_places(store: Store, options: PodOptions, assignment: Assignment) -> tuple[tuple[str, str | None], ...]:
    """For each folder of data what the job is told, and the path in the store that is mounted there (None: a URL).

    Raises ContractError where the cluster has no way to it.
    """
    places: list[tuple[str, str | None]] = []
    for number, url in enumerate(assignment.data):
        if "://" in url:
            places.append((url, None))
        elif options.store is not None:
            name = re.sub(r"[^A-Za-z0-9._-]+", "-", url.rsplit("/", 1)[-1])[:60]
            places.append((f"{DATA_DIR}/{number}-{name}", url))
        elif not store.is_local:
            places.append((store.uri(url), None))
        else:
            raise ContractError(
                f"worker {assignment.worker.name} cannot see data {url!r}: give its option store, the claim that the"
                " store is on, or keep the store under a URL such as s3://"
            )
    return tuple(places)


def open_out(store: Store, path: str) -> None:
    """Make an attempt's output folder in a local store, which its pod can write to whatever its user is."""
    folder = store.local(path)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)


def close_out(store: Store, path: str) -> None:
    """Let nobody add to an output folder any more; links go, as they may lead anywhere on who reads them."""
    folder = store.local(path)
    if not folder.is_dir():
        return
    for entry in list(folder.rglob("*")):
        if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
            entry.unlink()
    folder.chmod(0o755)
