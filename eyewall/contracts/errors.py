"""The one tree of errors. Each message is one sentence: what was wrong, the offending value, and the remedy.

    EyewallError                exit 1    something failed that a retry may mend
     |- InputError              exit 65   the caller gave something unusable; a retry cannot mend it
     |   |- CorruptFile         exit 65   one satellite file fails its checks (it goes to quarantine)
     |   |- TrackError          exit 65   a best-track file or row is unusable
     |   |- LeakError           exit 65   a storm or a season stands in two splits
     |   |- DivergedError       exit 65   a training's loss is no longer a number: the same job would do it again
     |   `- ContractError       exit 65   a job, manifest or reference does not follow its contract
     |- StorageError            exit 74   the store is read-only, full or away
     |- ServingError            exit 69   the model server does not answer, or refuses
     |- TrainingError           exit 70   a replica was lost: the same command goes on from the last checkpoint
     |- StillComing             exit 75   a slot's files are still arriving: try again in a few minutes
     `- NothingNew              exit 99   no error: there is nothing to do, the task is skipped

A gate that says no is not an error: it is a decision (`eyewall.contracts.gate`), and its step ends with 99 as well.
Numbers follow sysexits.h where it has one.
"""

EXIT_FAILED, EXIT_INPUT, EXIT_UNAVAILABLE, EXIT_SOFTWARE, EXIT_IO, EXIT_TEMPORARY, EXIT_SKIP = 1, 65, 69, 70, 74, 75, 99


class EyewallError(Exception):
    """Root of the tree; ``exit_code`` is what the command line returns for it."""

    exit_code: int = EXIT_FAILED


class InputError(EyewallError):
    """Something the caller gave is unusable; a retry cannot mend it."""

    exit_code = EXIT_INPUT


class CorruptFile(InputError):
    """One satellite file fails a check before any reader sees it."""


class TrackError(InputError):
    """A best-track file, or a row of one, is unusable."""


class LeakError(InputError):
    """A storm or a season stands in more than one split."""


class DivergedError(InputError):
    """A training's loss is no longer a number; it is repeatable, so the same job would diverge again."""


class ContractError(InputError):
    """A job, manifest, receipt or reference does not follow its contract."""


class StorageError(EyewallError):
    """The artifact store is read-only, full or away."""

    exit_code = EXIT_IO


class ServingError(EyewallError):
    """The model server does not answer, or refuses."""

    exit_code = EXIT_UNAVAILABLE


class TrainingError(EyewallError):
    """A replica was lost beyond recovery; the same command goes on from the last checkpoint."""

    exit_code = EXIT_SOFTWARE


class StillComing(EyewallError):
    """Files of a slot are still arriving; trying again in a few minutes mends it."""

    exit_code = EXIT_TEMPORARY


class NothingNew(EyewallError):
    """There is nothing to do; the task is skipped, not failed."""

    exit_code = EXIT_SKIP
