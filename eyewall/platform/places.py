"""Where a local installation lives: the project it runs, and the one folder it writes to."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from eyewall.contracts.errors import InputError


@dataclass(frozen=True)
class Places:
    """``root`` holds dags/, operators/ and plugins/; ``var`` takes everything that the platform writes."""

    root: Path
    var: Path

    @property
    def postgres(self) -> Path:
        """Data directory of the embedded PostgreSQL."""
        return self.var / "postgres"

    @property
    def airflow(self) -> Path:
        """AIRFLOW_HOME: configuration, secrets and task logs."""
        return self.var / "airflow"

    @property
    def run(self) -> Path:
        """Pid files and the lock."""
        return self.var / "run"

    @property
    def log(self) -> Path:
        """One log per process."""
        return self.var / "log"

    @property
    def passwords(self) -> Path:
        """User → password of Airflow's web page, readable by its owner alone."""
        return self.airflow / "passwords.json"

    @classmethod
    def find(cls, environ: Mapping[str, str] = os.environ, var: Path | None = None) -> "Places":
        """The working directory if it is a project, else the source tree this package runs from.

        ``var`` is, in this order: the argument, EYEWALL_VAR, or var/ in the project. Raises InputError when there is
        no project at either place.
        """
        candidates = (Path.cwd(), Path(__file__).resolve().parents[2])
        root = next((folder for folder in candidates if (folder / "dags").is_dir()), None)
        if root is None:
            raise InputError(
                f"no dags/ folder in {candidates[0]} nor in {candidates[1]}: run this in the project's folder"
            )
        named = var or Path(environ.get("EYEWALL_VAR") or "var")
        return cls(root, named if named.is_absolute() else root / named)

    def make(self) -> None:
        """Make the folders. Raises InputError where they cannot be made."""
        try:
            for folder in (self.var, self.airflow, self.run, self.log):
                folder.mkdir(parents=True, exist_ok=True)
            self.airflow.chmod(0o700)
        except OSError as error:
            raise InputError(
                f"cannot make {error.filename}: {error.strerror}; set EYEWALL_VAR to a folder of yours"
            ) from None
