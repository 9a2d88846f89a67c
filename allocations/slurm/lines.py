"""Cuts a stream of bytes into lines of text, in batches, at the newline character alone.

Neither universal newlines nor splitlines(): a job's name may hold a carriage
return or any other separator. What is not UTF-8 comes out as lone surrogates,
so that the reader can tell which field is damaged.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import BinaryIO, Final, NamedTuple, cast

_BATCH_BYTES: Final = 1 << 17
_BATCH_LINES: Final = 512
_LINE_KEPT: Final = 1 << 20
"""Bytes of one line that are held; the rest of a longer one is dropped."""


class Batch(NamedTuple):
    """Some lines without their newline."""

    lines: list[str]
    terminated: bool
    """False only for the last batch: one line that the file ends in the middle of."""
    damaged: bool
    """Whether NUL characters or bytes that are not UTF-8 occur."""
    size: int
    """Bytes of these lines."""


def batches(source: Iterable[bytes] | BinaryIO) -> Iterator[Batch]:
    """The lines of a source in their order; a byte order mark at the front is taken off."""
    held: list[bytes] = []
    held_bytes = 0
    front = True
    for chunk in _chunks(source):
        cut = chunk.rfind(b"\n")
        if cut < 0:
            if held_bytes < _LINE_KEPT:
                held.append(chunk[: _LINE_KEPT - held_bytes])
                held_bytes += len(held[-1])
            continue
        block = b"".join((*held, chunk[:cut])) if held else chunk[:cut]
        if held_bytes >= _LINE_KEPT:  # the rest of the dropped line goes too
            block = b"".join(held) + chunk[chunk.find(b"\n") : cut]
        rest = chunk[cut + 1 :]
        held, held_bytes = ([rest], len(rest)) if rest else ([], 0)
        if front:
            block, front = block.removeprefix(b"\xef\xbb\xbf"), False
        yield _batch(block, terminated=True)
    if held:
        tail = b"".join(held)
        yield _batch(tail.removeprefix(b"\xef\xbb\xbf") if front else tail, terminated=False)


def _chunks(source: Iterable[bytes] | BinaryIO) -> Iterator[bytes]:
    """The bytes of a file, or of its lines, in pieces of convenient size."""
    if hasattr(source, "read"):
        file = cast(BinaryIO, source)
        while chunk := file.read(_BATCH_BYTES):
            yield chunk
    else:
        pieces = iter(source)
        while some := list(islice(pieces, _BATCH_LINES)):
            if chunk := b"".join(some):
                yield chunk


def _batch(block: bytes, *, terminated: bool) -> Batch:
    try:
        text, damaged = block.decode(), b"\0" in block
    except UnicodeDecodeError:
        text, damaged = block.decode(errors="surrogateescape"), True
    return Batch(text.split("\n"), terminated, damaged, len(block))
