"""The files of imports, kept compressed below USAGE_FILES_DIR: as long as the charges that rest on them.

A file is written under a name of its own, forced to the disk and only then given its final name, so that what stands
there is whole whatever happens to the machine.
"""

import gzip
import hashlib
import os
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, BinaryIO, Final, NamedTuple, Protocol, cast

from django.conf import settings
from django.utils.translation import gettext as _

from allocations.slurm.header import Header, UnreadableExport, read_header

BLOCK: Final = 1 << 20
LONGEST_HEADER: Final = 8_000
_GZIP: Final = b"\x1f\x8b"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_LEVEL: Final = 1  # a third larger than the best, in a fifth of its time
_UNFINISHED: Final = ".part"


class Readable(Protocol):
    """A file, a pipe or the body of a request."""

    def read(self, size: int, /) -> bytes: ...


class TooLarge(UnreadableExport):
    """The file is larger than the centre accepts."""


class KeptFile(NamedTuple):
    """What was kept: its name below USAGE_FILES_DIR, and what the file was before it was compressed."""

    name: str
    sha256: str
    size_bytes: int
    stored_bytes: int
    header: Header


def keep(stream: Readable, *, folder: str, at: datetime) -> KeptFile:
    """Read a stream to its end and keep it; nothing stays of one that cannot be an export.

    What comes compressed by gzip is kept as what it contains. Raises UnreadableExport when the first line names no
    fields or the compression is damaged, TooLarge above USAGE_FILE_LIMIT_MB.
    """
    blocks = _contents(stream)
    begin = b""
    while b"\n" not in begin and len(begin) < 4 * LONGEST_HEADER and (block := next(blocks, b"")):
        begin += block
    header = header_of(begin)
    name = f"{folder}/{at:%Y/%m}/{at:%Y%m%dT%H%M%S}-{secrets.token_hex(6)}.gz"
    path = path_of(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + _UNFINISHED)
    sha256, size = hashlib.sha256(), 0
    try:
        unfinished.touch(mode=0o600, exist_ok=False)  # it names people and what they run
        with (
            unfinished.open("wb") as raw,
            gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=raw, mtime=0) as compressed,
        ):
            block = begin
            while block:
                size += len(block)
                if size > settings.USAGE_FILE_LIMIT:
                    raise TooLarge(
                        _("The file is larger than %(limit)s MB. Export a shorter window.")
                        % {"limit": settings.USAGE_FILE_LIMIT // 1_000_000}
                    )
                sha256.update(block)
                compressed.write(block)
                block = next(blocks, b"")
            compressed.close()
            raw.flush()
            os.fsync(raw.fileno())
            stored = raw.tell()
        unfinished.rename(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    for above in (path.parent, path.parent.parent, path.parent.parent.parent):  # a month or year may be new
        _force_to_disk(above)
    return KeptFile(name, sha256.hexdigest(), size, stored, header)


def header_of(begin: bytes) -> Header:
    """The first line of a file, read; UnreadableExport says what it lacks."""
    line = begin.removeprefix(_BYTE_ORDER_MARK).partition(b"\n")[0].decode("utf-8", errors="replace").removesuffix("\r")
    return read_header(line[:LONGEST_HEADER])


def path_of(name: str) -> Path:
    return Path(settings.USAGE_FILES_DIR) / name


def forget(name: str) -> None:
    """Remove a kept file that no import rests on."""
    path_of(name).unlink(missing_ok=True)


def remove_unfinished(*, at: datetime) -> int:
    """Remove what is left of files whose reception broke off more than a day ago; how many there were."""
    before = (at - timedelta(days=1)).timestamp()
    left = [path for path in Path(settings.USAGE_FILES_DIR).rglob(f"*{_UNFINISHED}") if path.stat().st_mtime < before]
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


@contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    """A kept file as it was before it was compressed; UnreadableExport when it is damaged, OSError when it is gone."""
    with path_of(name).open("rb") as raw, gzip.GzipFile(fileobj=raw, mode="rb") as contents:
        try:
            yield cast(BinaryIO, contents)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise UnreadableExport(_("The kept file is damaged: %(error)s.") % {"error": error}) from error


def _contents(stream: Readable) -> Iterator[bytes]:
    """The blocks of a stream, unpacked when it is compressed by gzip."""
    first = _filled(stream)
    if not first.startswith(_GZIP):
        while first:
            yield first
            first = stream.read(BLOCK)
        return
    packed = gzip.GzipFile(fileobj=cast(IO[bytes], _Again(first, stream)), mode="rb")
    try:
        while block := packed.read(BLOCK):
            yield block
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UnreadableExport(
            _("The file is compressed, and damaged: %(error)s. Hand it over again.") % {"error": error}
        ) from error


def _filled(stream: Readable) -> bytes:
    """The first block; a pipe may give less than two bytes at first."""
    first = stream.read(BLOCK)
    while len(first) < len(_GZIP) and (more := stream.read(BLOCK)):
        first += more
    return first


class _Again:
    """A stream whose first block was read already."""

    def __init__(self, first: bytes, rest: Readable) -> None:
        self._first, self._rest = first, rest

    def read(self, size: int) -> bytes:
        if self._first:
            block, self._first = self._first[:size], self._first[size:]
            return block
        return self._rest.read(size)


def _force_to_disk(folder: Path) -> None:
    """Force the names in a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
