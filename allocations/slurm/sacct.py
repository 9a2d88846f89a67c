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

from allocations.slurm.header import NEEDED, UnreadableExport, read_header
from allocations.slurm.lines import text_lines
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

_TEXT_KEPT: Final = 20_000
"""Characters of one record's continued text that are held; no name is that long."""


def open_export(lines: Iterable[bytes] | BinaryIO, *, zone: ZoneInfo, cluster: str) -> "Export":
    """An export ready to be read once, from an open binary file or its lines.

    Times without offset are in `zone`. Raises UnreadableExport.
    """
    return Export(lines, zone=zone, cluster=cluster)


class Export:
    """One sacct file: its header at once, its rows by iterating, once."""

    def __init__(self, source: Iterable[bytes] | BinaryIO, *, zone: ZoneInfo, cluster: str) -> None:
        self._lines = text_lines(source)
        first = next(self._lines, "")
        self._crlf = first.endswith("\r")
        header = read_header(first.removesuffix("\r"))
        self.fields = header.fields
        self.delimiter = header.delimiter
        self.guessable_delimiter = header.guessable_delimiter
        self._header = header
        self._reader = RecordReader(header, zone=zone, cluster=cluster)
        self._last_is_free = header.first_free < len(header.fields) and (
            header.guessable_delimiter or _is_free(header.fields[-1])
        )
        # with a strong delimiter the fields can simply be counted
        self._exact = not header.guessable_delimiter or header.first_free == len(header.fields)
        self._full = len(header.fields) if self._exact else header.first_free + 1
        self.records = self.bad = self.ignored = 0
        self._number = 1
        self._part: list[str] = []
        self._part_size = self._part_delimiters = self._part_number = 0
        self._foreign = False

    @property
    def read(self) -> int:
        """Records seen so far, of every fate."""
        return self.records + self.bad + self.ignored

    @property
    def latest(self) -> int | None:
        """The greatest Submit, Start or End of the good records so far, in epoch seconds."""
        return self._reader.latest or None

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows():
            if row.__class__ is Record:
                self.records += 1
            elif row.__class__ is BadRecord:
                self.bad += 1
            else:
                self.ignored += 1
            yield row
