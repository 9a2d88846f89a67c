"""Reports as data, and their rows as CSV.

A report is one definition: its name, what it answers, its columns (the data dictionary) and a function that yields its
rows from the database, one after the other. The page, the download and `manage.py export_report` are made from it.

CSV is UTF-8 with a byte order mark, so that a spreadsheet reads Chinese; lines end in CR LF and quotes are doubled
(RFC 4180); days and instants are ISO, instants in UTC; numbers are plain. Column names are never translated. Text that
a spreadsheet would run as a formula gets an apostrophe in front; numbers stay numbers, negative ones too.
"""

import csv
import io
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any, assert_never

from django.db.models import QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from centre.amounts import decimal_text

Text = str | Promise
Cell = str | int | date | datetime | None
Row = tuple[Cell, ...]

BYTE_ORDER_MARK = "\ufeff".encode()
ROWS_AT_A_TIME = 2_000
CHUNK_CHARACTERS = 64 * 1024
RUN_AS_FORMULA = frozenset("=+-@＝＋－＠")  # spreadsheets run the full-width ones too


class Kind(Enum):
    """What the cells of a column are, and what the rows hold for them."""

    TEXT = "text"  # str
    CODE = "code"  # str: a code, reference or name of a machine's; leading zeros stay, and it is not broken over lines
    CHOICE = "choice"  # str: one of the codes that the column's `choices` explain
    COUNT = "count"  # int
    SECONDS = "seconds"  # int, GPU-seconds
    HOURS = "hours"  # int, GPU-seconds; written as GPU-hours with two decimals
    MONEY = "money"  # int, cents of HKD; written as dollars with two decimals
    PERCENT = "percent"  # int, basis points; written as per cent with two decimals
    DAY = "day"  # date
    INSTANT = "instant"  # aware datetime; written in UTC


@dataclass(frozen=True)
class Column:
    """A column: its machine name (the CSV's heading, for ever), its title on screen, and what it means."""

    name: str
    title: Text
    description: Text
    kind: Kind = Kind.TEXT
    choices: Mapping[str, Text] | None = None


@dataclass(frozen=True)
class Parameters:
    """What a reader asks of a report: a range of days, both included; None leaves that end open.

    `at_most` bounds the rows of a preview; an export has none.
    """

    from_on: date | None = None
    to_on: date | None = None
    at_most: int | None = None

    def range_of(self, field: str) -> dict[str, date]:
        """The filter that keeps the rows whose day in `field` is in the range."""
        bounds = {f"{field}__gte": self.from_on, f"{field}__lte": self.to_on}
        return {lookup: day for lookup, day in bounds.items() if day is not None}


@dataclass(frozen=True)
class Report:
    """One report. `days` says in words which rows a range of days selects."""

    name: str
    title: Text
    description: Text
    days: Text
    columns: tuple[Column, ...]
    rows: Callable[[Parameters], Iterable[Row]]

    def file_name(self, parameters: Parameters) -> str:
        """The name of a download: the report's name and the days that it covers."""
        parts = [self.name]
        if parameters.from_on:
            parts.append(f"from-{parameters.from_on.isoformat()}")
        if parameters.to_on:
            parts.append(f"to-{parameters.to_on.isoformat()}")
        return "_".join(parts) + ".csv"


class BadDay(ValueError):
    """A day that cannot be read, or a range that ends before it begins; the message is a sentence for the reader."""


def read_days(from_text: str | None, to_text: str | None) -> Parameters:
    """The parameters that two typed days ask for; raises `BadDay`. Empty or absent leaves that end open."""
    from_on, to_on = read_day(from_text), read_day(to_text)
    if from_on and to_on and to_on < from_on:
        raise BadDay(
            _("The last day, %(to)s, is before the first, %(from)s.")
            % {"to": to_on.isoformat(), "from": from_on.isoformat()}
        )
    return Parameters(from_on=from_on, to_on=to_on)


def read_day(text: str | None) -> date | None:
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:
        raise BadDay(_("“%(text)s” is not a day; write it as YYYY-MM-DD, such as 2026-01-31.") % {"text": text})
    return day


def streamed(rows: "QuerySet[Any, Row]", parameters: Parameters) -> Iterator[Row]:
    """The rows of a query as the database hands them over, never all in memory."""
    return rows[: parameters.at_most].iterator(chunk_size=ROWS_AT_A_TIME)


def csv_chunks(report: Report, parameters: Parameters) -> Iterator[bytes]:
    """A report as CSV, in pieces of some 64 kB that end where a line ends."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    yield_mark = BYTE_ORDER_MARK
    writer.writerow([column.name for column in report.columns])
    kinds = [column.kind for column in report.columns]
    for row in report.rows(parameters):
        writer.writerow([written(kind, cell) for kind, cell in zip(kinds, row, strict=True)])
        if buffer.tell() >= CHUNK_CHARACTERS:
            yield yield_mark + buffer.getvalue().encode()
            yield_mark = b""
            buffer.seek(0)
            buffer.truncate()
    yield yield_mark + buffer.getvalue().encode()


def written(kind: Kind, cell: Cell) -> str:  # noqa: PLR0911  one line per kind
    """A cell as the CSV has it."""
    if cell is None:
        return ""
    match kind:
        case Kind.TEXT | Kind.CODE | Kind.CHOICE:
            return inert(str(cell))
        case Kind.COUNT | Kind.SECONDS:
            return str(int_of(cell))
        case Kind.HOURS:
            return decimal_text(int_of(cell), 3600, 2)
        case Kind.MONEY | Kind.PERCENT:
            return decimal_text(int_of(cell), 100, 2)
        case Kind.DAY:
            assert isinstance(cell, date)  # noqa: S101  the report's own definition says so
            return cell.isoformat()
        case Kind.INSTANT:
            assert isinstance(cell, datetime)  # noqa: S101
            return cell.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case _:
            assert_never(kind)


def int_of(cell: Cell) -> int:
    """A number cell; a float or a text in its place is a mistake in the report and stops the export."""
    if type(cell) is not int:
        raise TypeError(f"{cell!r} stands in a column of whole numbers")
    return cell


def inert(text: str) -> str:
    """A text that no spreadsheet runs as a formula, and that still says what it said.

    An apostrophe goes in front when the first visible character could begin a formula, or when the text begins with a
    tab or a line break. A text that has such an apostrophe of its own gets another, so that taking one away always
    gives the text back. NUL, which no spreadsheet can hold, is left out.
    """
    text = text.replace("\0", "")
    bare = text.lstrip("'")
    if bare[:1] in {"\t", "\r", "\n"} or first_visible(bare) in RUN_AS_FORMULA:
        return f"'{text}"
    return text


def first_visible(text: str) -> str:
    """The first character that is no blank, control or formatting mark (such as a right-to-left mark), or ""."""
    for character in text:
        if not (character.isspace() or unicodedata.category(character) in {"Cc", "Cf"}):
            return character
    return ""
