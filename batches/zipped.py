"""A ZIP64 file of stored members, whose bytes are known before any of them is read.

So its length is known, and any range of it can be sent without reading what comes before. The headers are
those of zipfile; only where they stand is counted here.
"""

import hashlib
import io
import zipfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import BinaryIO, Final, NamedTuple

_CHUNK: Final = 65_536
# MS-DOS, whose times ZIP has, knows none before.
_OLDEST: Final = datetime(1980, 1, 1, tzinfo=UTC)


class Member(NamedTuple):
    """A file of the archive."""

    name: str
    size: int
    crc32: int
    changed_at: datetime
    # From a place on.
    open_at: Callable[[int], BinaryIO]


class MemberChanged(OSError):
    """A member is not as long as it was. What was sent of the archive is incomplete, and ends so."""


class Zipped:
    """An archive of these members, in this order."""

    def __init__(self, members: Sequence[Member]) -> None:
        # Where each part begins: a text that stands here, or the content of a member.
        self._starts: list[int] = []
        self._parts: list[bytes | Member] = []
        infos = []
        digest = hashlib.sha256()
        end = 0
        for member in members:
            info = _info(member, end)
            infos.append(info)
            header = info.FileHeader(zip64=True)
            digest.update(header)
            end = self._add(end, header, len(header))
            end = self._add(end, member, member.size)
        tail = _directory(infos, end)
        digest.update(tail)
        self.size = self._add(end, tail, len(tail))
        # Names, times, lengths and checksums are all in the headers.
        self.tag = digest.hexdigest()[:32]

    def _add(self, start: int, part: bytes | Member, length: int) -> int:
        if length:
            self._starts.append(start)
            self._parts.append(part)
        return start + length

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from one place to another, in chunks. Raises MemberChanged and OSError."""
        number = bisect_right(self._starts, start) - 1
        while start < stop:
            begins, part = self._starts[number], self._parts[number]
            if isinstance(part, bytes):
                chunk = part[start - begins : stop - begins]
                yield chunk
                start += len(chunk)
            else:
                ends = min(stop, begins + part.size)
                yield from _content(part, start - begins, ends - begins)
                start = ends
            number += 1


def _info(member: Member, offset: int) -> zipfile.ZipInfo:
    changed_at = max(_OLDEST, member.changed_at.astimezone(UTC))
    info = zipfile.ZipInfo(member.name, changed_at.timetuple()[:6])
    info.file_size = info.compress_size = member.size
    info.CRC = member.crc32
    info.header_offset = offset
    info.external_attr = 0o644 << 16
    return info


def _content(member: Member, start: int, stop: int) -> Iterator[bytes]:
    with member.open_at(start) as file:
        while start < stop:
            chunk = file.read(min(_CHUNK, stop - start))
            if not chunk:
                raise MemberChanged(f"{member.name} ends at {start} of {member.size} bytes")
            yield chunk
            start += len(chunk)


class _Tail(io.BytesIO):
    """The end of a file of which the beginning is not there."""

    def __init__(self, offset: int) -> None:
        super().__init__()
        self._offset = offset

    def tell(self) -> int:
        return self._offset + super().tell()

    def seek(self, position: int, whence: int = 0, /) -> int:
        return super().seek(position - self._offset, whence)


def _directory(infos: list[zipfile.ZipInfo], offset: int) -> bytes:
    """The central directory, as zipfile writes it behind members that end at this offset."""
    tail = _Tail(offset)
    archive = zipfile.ZipFile(tail, "w", zipfile.ZIP_STORED)
    archive.filelist = infos
    archive.start_dir = offset
    archive._didModify = True  # type: ignore[attr-defined]
    archive.close()
    return tail.getvalue()
