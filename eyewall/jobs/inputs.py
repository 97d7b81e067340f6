"""What a job takes from the store is looked for when it is submitted, so that it does not fail after an hour's wait."""

import contextlib

from eyewall.contracts.errors import InputError
from eyewall.contracts.submission import Submission
from eyewall.jobs.code_files import code_files
from eyewall.storage import Store


def refuse_absent(store: Store, submission: Submission) -> None:
    """Raises InputError for code or data that is not there, StorageError where its store does not answer."""
    if submission.code is not None:
        _open_first_file(store, submission.code)
    for url in submission.data:
        if "://" in url:
            _open_first_file(store, url)
        elif not store.exists(url):
            raise InputError(f"no data {url!r} in store {store.url!r}: put it there first, then submit")


def _open_first_file(store: Store, url: str) -> None:
    with contextlib.closing(code_files(store, url)) as files:  # type: ignore[type-var]
        next(files)
