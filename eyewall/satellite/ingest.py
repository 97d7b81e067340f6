"""One slot: its files → checked → one frame in the store.

The order of things, each step in its own module: names say which files are needed (`satpy_names`, `segments`) → fetch
(`sources`) → check (`prepare`, `checks`, `hsd`, `hrit`) → bad ones to `quarantine` → the gate (`slots`) → read
(`satpy_format` and its like) → put on the wanted area (`geometry`) → write (`frame`).

A slot whose frame is there, made from the same files with the same settings, is a no-op. When more files have come
since, or when the settings differ, its frame is made anew and replaced in one rename.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from eyewall.contracts.errors import EyewallError, InputError, NothingNew
from eyewall.contracts.fields import Area
from eyewall.contracts.jobs import IngestJob
from eyewall.contracts.layout import frame_path
from eyewall.contracts.manifest import Manifest
from eyewall.satellite import checks
from eyewall.satellite.faults import machine_fault
from eyewall.satellite.formats import Choice, Format, LocalFile, NameFacts, Picture, UnreadableFiles, WrongRequest
from eyewall.satellite.frame import Frame, Image, manifest_path, value_quality, write_frame
from eyewall.satellite.geometry import resample, target_area
from eyewall.satellite.prepare import Fetched, Verdict, examine, fetch
from eyewall.satellite.quarantine import Quarantine, Refusal
from eyewall.satellite.slots import Candidate, Gate, Slot
from eyewall.storage import Store
from eyewall.storage.store import storage_errors

#: Raised when the same files would give another frame than before.
FRAME_FORMAT: Final = 1
#: No cloud, ground or fire that a window channel can measure is outside; such pixels are errors of the transmission.
PLAUSIBLE_K: Final = (100.0, 450.0)
_HEAD_BYTES: Final = 2**16

Status = Literal["made", "present", "refused", "waiting"]


@dataclass(frozen=True)
class Outcome:
    """What became of a slot: its frame's path and manifest when there is one, otherwise the reason."""

    slot: Slot
    status: Status
    path: str = ""
    manifest: Manifest | None = None
    reason: str = ""
    refusals: tuple[Refusal, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)  #: name → why nothing of the file could be had
    wrong_request: bool = False  #: the reason lies in what was asked, not in the files


@dataclass
class _Files:
    """What became of a slot's files: those that passed, with their sha256 by name, and what was refused."""

    good: list[LocalFile] = field(default_factory=list)
    sha256: dict[str, str] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)

    def images(self, choice: Choice) -> list[LocalFile]:
        """The good files that hold pixels, without prologue and epilogue."""
        return [file for file in self.good if file.facts.kind in choice.kinds]

    def drop(self, name: str) -> None:
        """Take a file out of the good ones."""
        self.good = [file for file in self.good if file.name != name]
        del self.sha256[name]


class SlotIngest:
    """Everything that the slots of one job share."""

    def __init__(self, store: Store, job: IngestJob, form: Format, choice: Choice, area: Area | None) -> None:
        """``choice`` is the data set of the whole job; ``area`` None leaves pictures as scanned."""
        self._store, self._job, self._form, self._choice, self._area = store, job, form, choice, area
        self._target = target_area(area) if area else None
        self._quarantine = Quarantine(store, job.stream, job.reader)

    def run(self, slot: Slot, scratch: Path, now: datetime) -> Outcome:
        """Ingest ``slot``, with ``scratch`` for temporary files.

        A bad file ends in quarantine and in the outcome, never in an exception. Raises StorageError for a store or
        scratch that cannot be written, and EyewallError for a source that does not answer, or too little memory.
        """
        path = frame_path(self._job.stream, slot.time, slot.part)
        files = _Files()
        try:
            gate = self._gate(slot)
            needed = self._needed(slot, gate)
            self._wait_for_names(needed, gate, slot, now)
            status, manifest = self._ingest(slot, path, needed, gate, scratch, now, files)
        except NothingNew as error:
            return Outcome(slot, "waiting", "", None, str(error), tuple(files.refusals), files.unreadable)
        except InputError as error:
            wrong = isinstance(error, WrongRequest)
            return Outcome(slot, "refused", "", None, str(error), tuple(files.refusals), files.unreadable, wrong)
        return Outcome(slot, status, path, manifest, "", tuple(files.refusals), files.unreadable)

    # --- what is needed ----------------------------------------------------------------------------------------------

    def _gate(self, slot: Slot) -> Gate:
        count = slot.segment_count
        wanted = frozenset(self._job.wanted_segments)
        critical = frozenset(self._job.critical_segments)
        if beyond := [number for number in wanted | critical if not 1 <= number <= count]:
            raise WrongRequest(f"segment {beyond[0]} is asked for, but the slot has 1 to {count}")
        if not wanted and self._area is not None:
            wanted = self._form.segments(self._area, count, lambda: self._heads(slot)) or frozenset()
        minutes = self._job.timeliness_minutes
        return Gate(wanted or frozenset(range(1, count + 1)), critical, timedelta(minutes=minutes) if minutes else None)

    def _heads(self, slot: Slot) -> Iterator[bytes]:
        for candidate in slot.candidates:
            if candidate.facts.kind in self._choice.kinds and candidate.found.fs is None:
                yield checks.head(Path(candidate.found.place), _HEAD_BYTES)

    def _needed(self, slot: Slot, gate: Gate) -> list[Candidate]:
        """The candidates of the data set within the wanted and critical segments, and their companions."""
        needed, segments = [], gate.wanted | gate.critical
        for candidate in slot.candidates:
            image = candidate.facts.kind in self._choice.kinds and _segment(candidate.facts) in segments
            if image or candidate.facts.kind in self._choice.companions:
                needed.append(candidate)
        if not any(candidate.facts.kind in self._choice.kinds for candidate in needed):
            raise InputError(self._none_needed(slot, segments))
        return needed

    def _none_needed(self, slot: Slot, segments: frozenset[int]) -> str:
        there = {_segment(c.facts) for c in slot.candidates if c.facts.kind in self._choice.kinds}
        if not there:
            return f"no file of dataset {self._choice.dataset} is there"
        asked = ", ".join(map(str, sorted(segments)))
        return (
            f"no file of dataset {self._choice.dataset} that shows the wanted area is there: "
            f"it takes segment {asked} of {slot.segment_count}, and there is {', '.join(map(str, sorted(there)))}"
        )

    def _wait_for_names(self, needed: Sequence[Candidate], gate: Gate, slot: Slot, now: datetime) -> None:
        """Waits (NothingNew) before anything is fetched when the names alone say that something is to come."""
        named = frozenset(_segment(c.facts) for c in needed if c.facts.kind in self._choice.kinds)
        if gate.timeliness is not None and gate.wanted - named:
            gate.judge(named | gate.critical, slot.time, now)

    # --- from files to a frame ---------------------------------------------------------------------------------------

    def _ingest(
        self,
        slot: Slot,
        path: str,
        needed: Sequence[Candidate],
        gate: Gate,
        scratch: Path,
        now: datetime,
        files: _Files,
    ) -> tuple[Status, Manifest]:
        before = self._before(path)
        known = set(before.inputs.values()) if before else set()
        fetched, files.unreadable = fetch(needed, scratch)
        if before is not None and all(each.sha256 in known for each in fetched):
            return "present", before
        for each, verdict in zip(fetched, examine(self._form, fetched), strict=True):
            self._sort(each, verdict, slot, files)
        if before is not None and set(files.sha256.values()) <= known:
            return "present", before
        frame = self._frame(slot, gate, now, fetched, files)
        return "made", write_frame(self._store, path, frame, files.sha256, self._config())

    def _before(self, path: str) -> Manifest | None:
        """The manifest of the frame at ``path`` if it is whole and was made with these settings."""
        with storage_errors(f"{path!r} in store {self._store.url!r}"):
            present = self._store.exists(path) and self._store.exists(manifest_path(path))
        if not present:
            return None
        try:
            manifest = Manifest.model_validate_json(self._store.read_bytes(manifest_path(path)))
        except ValueError:
            return None
        content = self._store.read_bytes(path)
        whole = bool(manifest.files) and hashlib.sha256(content).hexdigest() == manifest.files[0].sha256
        return manifest if whole and manifest.config == self._config() else None

    def _config(self) -> dict[str, Any]:
        return {
            "frame_format": FRAME_FORMAT,
            "reader": self._job.reader,
            "dataset": self._choice.dataset,
            "area": list(self._area) if self._area else None,
            "wanted_segments": sorted(self._job.wanted_segments),
        }

    def _sort(self, each: Fetched, verdict: Verdict, slot: Slot, files: _Files) -> None:
        """One file: among the good ones, or in quarantine."""
        facts = each.candidate.facts
        if verdict.plain is None:
            self._refuse(each, verdict.failed, verdict.reason, slot, files)
        elif twin := _twin(facts, files.good):
            self._refuse(each, "duplicate", twin, slot, files)
        else:
            files.good.append(LocalFile(each.name, Path(each.candidate.found.place), verdict.plain, facts))
            files.sha256[each.name] = each.sha256

    def _refuse(self, each: Fetched, check: str, reason: str, slot: Slot, files: _Files) -> None:
        remove = each.candidate.found.remove if self._job.inbox else None
        try:
            files.refusals.append(self._quarantine.put(each.path, check, reason, slot.time, remove))
        except InputError as error:  # it has vanished meanwhile
            files.unreadable[each.name] = f"{reason}; {error}"

    def _frame(self, slot: Slot, gate: Gate, now: datetime, fetched: Sequence[Fetched], files: _Files) -> Frame:
        """Read what passed; a file that only the reader finds bad goes to quarantine, and the rest is tried again."""
        while True:
            present = frozenset(_segment(file.facts) for file in files.images(self._choice))
            if not present:
                raise InputError(_nothing_left(files))
            lacking = self._choice.companions - {file.facts.kind for file in files.good}
            gate.judge(present, slot.time, now, lacking)
            try:
                picture = self._form.read(files.good, self._choice, cut=self._target is not None)
                data, area = self._on_area(picture)
                break
            except EyewallError:
                raise
            except Exception as error:  # readers raise anything, OSError for a bad file among it
                if fault := machine_fault(error):
                    raise fault from error
                blame = self._form.blame(files.good, self._choice, error)
                if not isinstance(blame, UnreadableFiles):
                    raise blame from error
            for name, reason in blame.reasons.items():
                each = next(f for f in fetched if (f.name, f.sha256) == (name, files.sha256[name]))
                self._refuse(each, "reader", reason, slot, files)
                files.drop(name)
        quality: dict[str, float | int] = {
            **picture.extra,
            "segments_wanted": len(gate.wanted),
            "segments_present": len(present & gate.wanted),
            "files_refused": len(files.refusals) + len(files.unreadable),
        }
        return self._finish(slot, picture, data, area, quality)

    def _on_area(self, picture: Picture) -> tuple[Image, Any]:
        if self._target is not None:
            return resample(picture.data, picture.area, self._target), self._target
        if not hasattr(picture.area, "area_extent"):
            raise WrongRequest(f"reader {self._job.reader} gives a swath without a projection: give --area")
        return np.asarray(picture.data, dtype=np.float32), picture.area

    def _finish(self, slot: Slot, picture: Picture, data: Image, area: Any, quality: dict[str, float | int]) -> Frame:
        """Values, times and numbers → frame. Raises InputError when too few pixels are valid."""
        if picture.quantity == "brightness_temperature_k":
            wild = np.isfinite(data) & ~((data >= PLAUSIBLE_K[0]) & (data <= PLAUSIBLE_K[1]))
            data = np.where(wild, np.float32(np.nan), data)
            quality["pixels_implausible"] = quality.get("pixels_implausible", 0) + int(wild.sum())
        quality |= value_quality(data)
        if not quality["valid_fraction"]:
            raise InputError("no valid pixel: the wanted area is not in the picture")
        if quality["valid_fraction"] < self._job.min_valid_fraction:
            raise InputError(
                f"only {quality['valid_fraction']:.3f} of the pixels are valid: "
                f"min_valid_fraction is {self._job.min_valid_fraction:g}"
            )
        start = picture.observation_start or slot.time
        return Frame(
            data=data,
            area=area,
            quantity=picture.quantity,
            nominal_time=slot.time,
            observation_start=start,
            observation_end=max(picture.observation_end or start, start),
            platform=picture.platform,
            sensor=picture.sensor,
            reader=self._job.reader,
            dataset=self._choice.dataset,
            quality=quality,
        )


def _segment(facts: NameFacts) -> int:
    """A picture in one piece is its own segment 1."""
    return facts.segment or 1


def _twin(facts: NameFacts, good: Sequence[LocalFile]) -> str:
    """Why a file is one too many: its segment is there already, or it is another satellite's. Empty when it is not."""
    for file in good:
        if file.facts.platform != facts.platform:
            return f"{file.name} of the same slot is from {file.facts.platform}, not {facts.platform}"
        if (file.facts.kind, file.facts.segment) == (facts.kind, facts.segment):
            return f"{file.name} holds the same segment of the same slot"
    return ""


def _nothing_left(files: _Files) -> str:
    reasons = [f"{refusal.file}: {refusal.reason}" for refusal in files.refusals]
    reasons += [f"{name}: {reason}" for name, reason in files.unreadable.items()]
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return f"no usable file is left: {reasons[0]}{more}" if reasons else "no file of the slot could be read"
