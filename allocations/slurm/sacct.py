"""Reads the text of `sacct -a -X -P --duplicates` into rows, without a database.

    export = open_export(file, zone=ZoneInfo("Asia/Hong_Kong"), cluster="hgx")
    for row in export:          # Record | BadRecord | Ignored
        ...

Every record of the file comes out as exactly one row, so that
`export.read == export.records + export.bad + export.ignored`. Lines are
separated by the newline character alone, because a job's name may hold any
other. Free text may hold that too: a line that cannot begin a record continues
the text before it. Memory does not grow with the file.
"""

from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final
from zoneinfo import ZoneInfo

from allocations.slurm.header import FREE_TEXT, NEEDED, UnreadableExport, read_header
from allocations.slurm.lines import Batch, batches
from allocations.slurm.records import (
    CUT_SHORT,
    OTHER_EXPORT,
    TOO_FEW_FIELDS,
    TOO_MANY_FIELDS,
    BadRecord,
    Ignored,
    Record,
    RecordReader,
    Row,
    bad,
)

__all__ = ["BadRecord", "Export", "Ignored", "Record", "Row", "UnreadableExport", "open_export"]

_TEXT_KEPT: Final = 1 << 20
"""Characters of continued text that are held for one record."""


def open_export(lines: Iterable[bytes] | BinaryIO, *, zone: ZoneInfo, cluster: str) -> "Export":
    """An export ready to be read once, from an open binary file or its lines.

    Times without an offset are in `zone`. Raises UnreadableExport, whose
    message says what the file lacks and what to do.
    """
    return Export(lines, zone=zone, cluster=cluster)


class Export:
    """One sacct file: its header at once, its rows by iterating, once.

    `guessable_delimiter` says that a job's name could have imitated a record.
    """

    def __init__(self, source: Iterable[bytes] | BinaryIO, *, zone: ZoneInfo, cluster: str) -> None:
        self._batches = batches(source)
        first = next(self._batches, Batch([""], terminated=False, damaged=False, size=0))
        header_line = first.lines[0]
        self._crlf = header_line.endswith("\r")
        self._header = read_header(header_line.removesuffix("\r"))
        self._first = first._replace(lines=first.lines[1:])
        self._reader = RecordReader(self._header, zone=zone, cluster=cluster)
        self._full = self._header.full
        self._maxsplit = self._full - 1 if not self._header.exact else -1
        self.records = self.bad = self.ignored = 0
        self._number = 1
        self._out: list[Row] = []
        # a whole record whose text may go on in the next line, and that text
        self._whole: list[str] | None = None
        self._whole_number = 0
        self._more: list[str] = []
        self._more_size = 0
        # the lines so far of what is no whole record yet, or belongs to another export
        self._part: list[str] = []
        self._part_number = self._part_size = self._part_delimiters = 0
        self._foreign = False

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the columns in the order of the file."""
        return self._header.fields

    @property
    def delimiter(self) -> str:
        """What stands between two columns."""
        return self._header.delimiter

    @property
    def guessable_delimiter(self) -> bool:
        """Whether the delimiter is shorter than 16 characters or not varied."""
        return self._header.guessable_delimiter

    @property
    def read(self) -> int:
        """Records seen so far, of every fate."""
        return self.records + self.bad + self.ignored

    @property
    def latest(self) -> int | None:
        """The greatest Submit, Start or End of the good records so far, in epoch seconds."""
        return self._reader.latest or None

    def __iter__(self) -> Iterator[Row]:
        for rows, _size in self._by_batch():
            yield from rows

    def in_chunks(self, *, rows: int, size: int) -> Iterator[list[Row]]:
        """All rows in lists of about so many, fewer where they stand for more than `size` bytes of the file."""
        held: list[Row] = []
        held_size = 0
        for more, more_size in self._by_batch():
            held += more
            held_size += more_size
            if len(held) >= rows or held_size >= size:
                yield held
                held, held_size = [], 0
        if held:
            yield held

    def _by_batch(self) -> Iterator[tuple[list[Row], int]]:
        """The rows that each batch of lines completes, and the size of that batch in bytes."""
        batch: Batch | None = self._first
        while batch is not None:
            self._reader.damaged |= batch.damaged
            if batch.terminated:
                self._take(batch.lines)
            elif batch.lines:
                self._take_unterminated(batch.lines[0])
            yield self._counted_rows(), batch.size
            batch = next(self._batches, None)
        self._close()
        yield self._counted_rows(), 0

    def _counted_rows(self) -> list[Row]:
        rows, self._out = self._out, []
        for row in rows:
            if row.__class__ is Record:
                self.records += 1
            elif row.__class__ is BadRecord:
                self.bad += 1
            else:
                self.ignored += 1
        return rows

    def _take(self, lines: list[str]) -> None:
        """Some whole lines; almost every one is a record, and this loop is what a million pass."""
        if self._crlf:
            lines = [line.removesuffix("\r") for line in lines]
        delimiter, maxsplit, number = self._header.delimiter, self._maxsplit, self._number
        read, append = self._reader.read, self._out.append
        whole, whole_number = self._whole, self._whole_number
        full, plain = self._full, not (self._more or self._part)
        for line in lines:
            number += 1
            parts = line.split(delimiter, maxsplit)
            if len(parts) == full and plain:
                if whole is not None:
                    append(read(whole_number, whole))
                whole, whole_number = parts, number
                continue
            self._number, self._whole, self._whole_number = number, whole, whole_number
            self._take_odd(line, parts)
            whole, whole_number = self._whole, self._whole_number
            plain = not (self._more or self._part)
        self._number, self._whole, self._whole_number = number, whole, whole_number

    def _take_odd(self, line: str, parts: list[str]) -> None:
        """A line that is no record by itself, or that follows one."""
        header = self._header
        if self._reader.misled:
            self._close()  # what waited may have been the header that ends it
        if len(parts) == header.full:
            self._close()
            self._whole, self._whole_number = parts, self._number
        elif self._reader.misled:
            self._out.append(bad(self._number, line, OTHER_EXPORT))
        elif self._foreign:
            self._hold(line, 0)
        elif all(name in line for name in NEEDED):
            self._close()
            self._begin_other_export(line)
        elif self._whole is not None and header.ends_in_text and (len(parts) == 1 or not header.exact):
            self._continue(line)
        else:
            self._take_fragment(line, len(parts) - 1)

    def _begin_other_export(self, line: str) -> None:
        """A header that is not ours: nothing after it may be read by our columns.

        With our delimiter it is believed until our header comes again; without
        it, it may be a job's name, and the next whole record ends it.
        """
        if set(NEEDED) <= set(line.split(self._header.delimiter)):
            self._reader.misled = True
            self._out.append(bad(self._number, line, OTHER_EXPORT))
        else:
            self._hold(line, 0)
            self._foreign = True

    def _take_fragment(self, line: str, delimiters: int) -> None:
        """A line with too few delimiters (or too many) that continues no whole record."""
        needed = len(self._header.fields) - 1
        together = self._part_delimiters + delimiters
        if self._part and (together == needed or self._breaks_in_text(together)):
            self._hold(line, delimiters)
            if self._part_delimiters == needed:
                self._whole = "\n".join(self._part).split(self._header.delimiter)
                self._whole_number = self._part_number
                self._part = []
            return
        self._close()
        if not line:
            self._out.append(Ignored(self._number))
        elif delimiters > needed:
            self._out.append(bad(self._number, line, TOO_MANY_FIELDS))
        elif self._breaks_in_text(delimiters):
            self._hold(line, delimiters)
        else:
            self._out.append(bad(self._number, line, TOO_FEW_FIELDS))

    def _breaks_in_text(self, delimiters: int) -> bool:
        """Whether a line that ends after so many delimiters ends within a text, so that the next one may go on with it.

        One that ends anywhere else was damaged, and must not take lines of the next record with it.
        """
        fields = self._header.fields
        return self._header.exact and delimiters < len(fields) - 1 and fields[delimiters] in FREE_TEXT

    def _take_unterminated(self, line: str) -> None:
        """The line in whose middle the file ends: a record only when nothing but text can be missing."""
        self._number += 1
        line = line.removesuffix("\r") if self._crlf else line
        parts = line.split(self._header.delimiter, self._maxsplit)
        joined = self._part_delimiters + len(parts) - 1 == len(self._header.fields) - 1
        if self._reader.misled:
            self._close()
        if len(parts) == self._full and self._header.ends_in_text and not self._reader.lacks_text(parts):
            self._close()
            self._whole, self._whole_number = parts, self._number
        elif self._part and not self._foreign and joined and self._header.ends_in_text:
            self._take_fragment(line, len(parts) - 1)
        elif self._part:
            self._hold(line, 0)
            self._close(CUT_SHORT)
        else:
            self._close()
            self._out.append(bad(self._number, line, CUT_SHORT))

    def _continue(self, line: str) -> None:
        """One more line of the text that ends the whole record."""
        if self._more_size < _TEXT_KEPT:
            self._more.append(line)
            self._more_size += len(line) + 1

    def _hold(self, line: str, delimiters: int) -> None:
        """One more line of what is no whole record yet."""
        if not self._part:
            self._part_number, self._part_size, self._part_delimiters = self._number, 0, 0
        if self._part_size < _TEXT_KEPT:
            self._part.append(line)
            self._part_size += len(line) + 1
        self._part_delimiters += delimiters

    def _close(self, reason: str = TOO_FEW_FIELDS) -> None:
        """Nothing continues what stood before: it becomes its row."""
        if self._whole is not None:
            if self._more:
                self._whole[-1] = "\n".join((self._whole[-1], *self._more))
            self._out.append(self._reader.read(self._whole_number, self._whole))
        if self._part:
            text = "\n".join(self._part)
            self._out.append(bad(self._part_number, text, OTHER_EXPORT if self._foreign else reason))
        self._whole, self._more, self._more_size = None, [], 0
        self._part, self._foreign = [], False
