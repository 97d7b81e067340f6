r"""Packets on disk while the link is away: segments that are only appended to, each record checked and fsynced.

    spool/0000000001.seg      b"EYWSPL1\n", then records: length u32, crc32 u32 (of length and content), content

A record counts once `append` has returned. A crash leaves at most a torn record at the end, which the next start cuts
off; the frame it came from is still at its source. Whatever else does not pass its checksum (bit rot) is set aside
beside the spool, to be looked at, with everything behind it in that segment. How far the spool was drained is not
written: answers are kept by frame id, so the records of a started segment are passed over when their answers are there.
"""

import contextlib
import errno
import logging
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eyewall.contracts.errors import InputError, StorageError
from eyewall.split.edge.packet import Packet

_log = logging.getLogger("eyewall.edge")
_MAGIC = b"EYWSPL1\n"
_RECORD = struct.Struct("<II")
#: Longest record that is believed: a message of 64 MiB and its header.
_LONGEST_RECORD = 80 * 2**20
SEGMENT_BYTES = 16 * 2**20


class SpoolFull(StorageError):
    """The spool has no room for the packet, or its disk has none: whoever asks keeps the packet and waits."""


@dataclass
class _Segment:
    number: int
    path: Path
    bytes: int
    waiting: int = 0  #: records not yet acknowledged


@dataclass(eq=False)
class _Record:
    segment: _Segment
    offset: int
    length: int
    ids: tuple[str, ...]


class Spool:
    """Packets in order of arrival, for one process and one thread; at most ``max_bytes`` on disk."""

    def __init__(
        self, folder: Path, max_bytes: int, reserve_bytes: int = 0, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        """Open, mending what a crash left.

        ``reserve_bytes`` are left free on the disk: a spool that took them all could never be drained, as answers need
        room before packets go. Raises StorageError when the folder cannot be used.
        """
        self._reserve_bytes = reserve_bytes
        self._folder, self.max_bytes, self._segment_bytes = folder, max_bytes, segment_bytes
        self._records: deque[_Record] = deque()
        self._segments: dict[int, _Segment] = {}
        self._read = 0  # how many of the records are out for sending
        self._file: int | None = None  # of the last segment, while it is written to
        self._next = 1
        self.ids: set[str] = set()  #: frames that stand in it
        self.bytes = 0  #: on disk
        self.last_number = -1  #: highest frame number seen
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(folder.glob("*.seg")):
                self._open_segment(path)
        except OSError as error:
            raise StorageError(f"spool {folder} cannot be used: {error.strerror}; give another --state") from None

    @property
    def packets(self) -> int:
        """Packets in it."""
        return len(self._records)

    @property
    def frames(self) -> int:
        """Frames in it."""
        return len(self.ids)

    @property
    def unread(self) -> int:
        """Packets in it that `next` has not given out."""
        return len(self._records) - self._read

    def append(self, packet: Packet) -> None:
        """Keep a packet; it is safe on disk when this returns. Raises SpoolFull, with nothing half-written."""
        content = packet.to_bytes()
        need = _RECORD.size + len(content)
        if self.bytes + need + (0 if self._file is not None else len(_MAGIC)) > self.max_bytes:
            raise SpoolFull(
                f"the spool is full: {self.bytes} of {self.max_bytes} bytes; frames stay at their source until the link"
                " is back, or give more with --spool-mb"
            )
        length = struct.pack("<I", len(content))
        try:
            self._leave_room(need)
            segment = self._writable()
            offset = segment.bytes
            assert self._file is not None
            _write_all(self._file, length + struct.pack("<I", zlib.crc32(content, zlib.crc32(length))) + content)
            os.fdatasync(self._file)
        except OSError as error:
            self._undo()
            raise SpoolFull(
                f"the disk of spool {self._folder} takes no more ({error.strerror}): frames stay at their source"
            ) from None
        segment.bytes += need
        self.bytes += need
        self._note(segment, offset, len(content), packet)

    def could_hold(self, packet: Packet) -> bool:
        """Whether an empty spool would have room for it."""
        return len(packet.to_bytes()) + _RECORD.size + len(_MAGIC) <= self.max_bytes

    def next(self) -> Packet | None:
        """The first packet that is not out yet; None when all are."""
        while self._read < len(self._records):
            record = self._records[self._read]
            try:
                packet = Packet.from_bytes(self._content(record))
            except (OSError, InputError) as error:
                # Checked when it was written or found: the disk has lost it since. What stands behind it may be whole.
                _log.error("spool %s lost %s: %s", record.segment.path, ", ".join(record.ids), error)
                self._forget(record)
                continue
            packet.place = record
            self._read += 1
            return packet
        return None

    def rewind(self) -> None:
        """All packets that are out have failed: `next` begins with the first again."""
        self._read = 0

    def done(self, packet: Packet) -> None:
        """A packet that `next` gave is answered, or set aside: it goes. A segment without any is deleted."""
        self._forget(packet.place)
        self._read = max(0, self._read - 1)

    def close(self) -> None:
        """Close the file; everything is on disk already."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _leave_room(self, need: int) -> None:
        if self._reserve_bytes:
            disk = os.statvfs(self._folder)
            if disk.f_bavail * disk.f_frsize < self._reserve_bytes + need:
                raise OSError(errno.ENOSPC, f"less than {self._reserve_bytes} bytes would be left, see --reserve-mb")

    # ---- segments

    def _writable(self) -> _Segment:
        """The segment to append to; a new one where there is none yet, or the last one is long enough."""
        last = self._segments.get(self._next - 1)
        if self._file is not None and last is not None and last.bytes < self._segment_bytes:
            return last
        self.close()
        path = self._folder / f"{self._next:010d}.seg"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        segment = _Segment(self._next, path, len(_MAGIC))
        self._segments[self._next] = segment
        self._next += 1
        self.bytes += segment.bytes
        _write_all(self._file, _MAGIC)
        _sync_folder(self._folder)
        if last is not None and not last.waiting:
            self._drop(last)
        return segment

    def _undo(self) -> None:
        """Take back what a failed write left at the end of the last segment."""
        segment = self._segments.get(self._next - 1)
        if self._file is None or segment is None:
            return
        if segment.waiting:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, segment.bytes)
                os.lseek(self._file, segment.bytes, os.SEEK_SET)
                return
        self.close()  # a torn end that cannot be cut off here is cut off at the next start
        if not segment.waiting:
            self._drop(segment)

    def _forget(self, record: _Record) -> None:
        self._records.remove(record)
        self.ids.difference_update(record.ids)
        segment = record.segment
        segment.waiting -= 1
        if segment.waiting:
            return
        if segment.number == self._next - 1:  # the one that is written to: the next packet begins a new one
            self.close()
        self._drop(segment)

    def _drop(self, segment: _Segment) -> None:
        if self._segments.pop(segment.number, None) is not None:
            self.bytes -= segment.bytes
        with contextlib.suppress(OSError):
            segment.path.unlink(missing_ok=True)

    # ---- reading

    def _note(self, segment: _Segment, offset: int, length: int, packet: Packet) -> None:
        segment.waiting += 1
        ids = tuple(key.id for key in packet.keys)
        self._records.append(_Record(segment, offset, length, ids))
        self.ids.update(ids)
        self.last_number = max([self.last_number, *(key.number for key in packet.keys)])

    def _content(self, record: _Record) -> bytes:
        with record.segment.path.open("rb") as stream:
            stream.seek(record.offset)
            head = stream.read(_RECORD.size)
            content = stream.read(record.length)
        if _fault(head, content) is not None:
            raise InputError(f"the record at {record.offset} no longer passes its checksum")
        return content

    def _open_segment(self, path: Path) -> None:
        try:
            number = int(path.stem)
        except ValueError:
            return  # a stranger
        self._next = max(self._next, number + 1)
        segment = _Segment(number, path, 0)
        size = path.stat().st_size
        good = 0
        for offset, length, packet in _whole_records(path):
            if packet is not None:
                self._note(segment, offset, length, packet)
            good = offset + (_RECORD.size + length if packet is not None else 0)
        if good < size:
            self._cut(path, good, size)
        segment.bytes = good
        if segment.waiting:
            self._segments[number] = segment
            self.bytes += segment.bytes
        else:
            path.unlink()

    def _cut(self, path: Path, good: int, size: int) -> None:
        """Cut off the end that is no whole record; set it aside when it is more than a write that was cut short."""
        with path.open("r+b") as stream:
            stream.seek(good)
            end = stream.read(_LONGEST_RECORD)
            torn = len(end) < _RECORD.size or _RECORD.unpack_from(end)[0] > len(end) - _RECORD.size
            if not torn:
                path.with_name(f"{path.stem}-{good}.bad").write_bytes(end)
            stream.truncate(good)
            os.fsync(stream.fileno())
        _log.warning(
            "spool %s: the last %d bytes are %s; their frames are read from their source again",
            path,
            size - good,
            "a record that a crash cut short" if torn else "damaged, and set aside beside it",
        )


def _whole_records(path: Path) -> Iterator[tuple[int, int, Packet | None]]:
    """Offset, length and packet of each record that passes; without a packet: where the last good one ended."""
    with path.open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            yield 0, 0, None
            return
        offset = len(_MAGIC)
        yield offset, 0, None
        while head := stream.read(_RECORD.size):
            length = _RECORD.unpack(head)[0] if len(head) == _RECORD.size else _LONGEST_RECORD + 1
            content = stream.read(length) if length <= _LONGEST_RECORD else b""
            if _fault(head, content) is not None:
                return
            try:
                packet = Packet.from_bytes(content)
            except InputError:
                return
            yield offset, length, packet
            offset += _RECORD.size + length


def _fault(head: bytes, content: bytes) -> str | None:
    if len(head) != _RECORD.size:
        return "torn header"
    length, crc = _RECORD.unpack(head)
    if length != len(content):
        return "torn content"
    return None if zlib.crc32(content, zlib.crc32(head[:4])) == crc else "checksum"


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
