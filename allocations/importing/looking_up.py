"""Looking a record up in the kept file of an import: the line at a number, the lines about a run.

A kept file may hold gigabytes. It is read to a bound and never held; what lies beyond it is found in the file itself.
"""

from collections.abc import Iterator
from io import BytesIO
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from allocations.importing import stored_files
from allocations.models import JobRun, UsageImport
from allocations.slurm.header import UnreadableExport, read_header
from allocations.slurm.sacct import Record, open_export

MOST_READ: Final = 200_000_000
"""Bytes of a file, uncompressed, that are looked through for one page: a few seconds."""
LONGEST_LINE: Final = 40_000
MOST_FOUND: Final = 20
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """A line of a file: its number, the first line being 1, and its text without the line's end."""

    number: int
    text: str


class Found(NamedTuple):
    """What was found, and whether the whole file was looked through."""

    lines: list[Line]
    to_the_end: bool


def line_at(usage_import: UsageImport, number: int) -> Line | None:
    """The line with this number; None when the file is gone, damaged, or shorter, or the line lies beyond the bound."""
    try:
        for line in _lines(usage_import, most=MOST_READ):
            if line is not None and line[0] == number:
                return Line(number, line[1].decode(errors="replace"))
    except (OSError, UnreadableExport):
        return None
    return None


def lines_of_run(usage_import: UsageImport, run: JobRun) -> Found | None:
    """The lines that the file holds about a run; None when the file is gone or damaged."""
    wanted, submitted = str(run.job_id_raw).encode(), int(run.submit_at.timestamp())
    header = usage_import.header.encode()
    found: list[Line] = []
    try:
        fields = read_header(usage_import.header)
        delimiter, place = fields.delimiter.encode(), fields.fields.index("JobIDRaw")
        for line in _lines(usage_import, most=MOST_READ):
            if line is None:
                return Found(found, to_the_end=False)
            number, text = line
            # A short number occurs in most lines, and reading a line as an export of its own takes its time.
            if wanted not in text or number == 1 or text.split(delimiter, place + 1)[place : place + 1] != [wanted]:
                continue
            if _tells_of(run, submitted, header + b"\n" + text + b"\n", usage_import):
                found.append(Line(number, text.decode(errors="replace")))
                if len(found) == MOST_FOUND:
                    return Found(found, to_the_end=False)
    except (OSError, UnreadableExport):
        return None
    return Found(found, to_the_end=True)


def _tells_of(run: JobRun, submitted: int, contents: bytes, usage_import: UsageImport) -> bool:
    rows = open_export(BytesIO(contents), zone=ZoneInfo(usage_import.time_zone), cluster=usage_import.cluster.code)
    return any(
        isinstance(row, Record)
        and row.job_id_raw == run.job_id_raw
        and (row.submit == submitted or (row.db_index is not None and row.db_index == run.db_index))
        for row in rows
    )


def _lines(usage_import: UsageImport, *, most: int) -> Iterator[tuple[int, bytes] | None]:
    """The lines of a kept file with their numbers, each cut at LONGEST_LINE; None where the bound was reached.

    Where the first line ends with a carriage return, lines do: as the reader of exports takes it.
    """
    with stored_files.opened(usage_import.stored_as) as contents:
        number, at, is_whole, end = 0, 0, True, b"\n"
        while part := contents.readline(LONGEST_LINE):
            if is_whole:
                number += 1
                text = part.removeprefix(_BYTE_ORDER_MARK) if number == 1 else part
                end = b"\r\n" if number == 1 and text.endswith(b"\r\n") else end
                yield number, text.removesuffix(b"\n").removesuffix(end[:-1])
            is_whole = part.endswith(b"\n")
            at += len(part)
            if at >= most:
                yield None
                return
