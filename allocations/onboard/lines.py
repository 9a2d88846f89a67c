"""Reading the spreadsheets: CSV text -> lines with named cells, cells -> values. Nothing here asks the database.

What cannot be read is raised as `BadLine` with a sentence; the caller knows which line it was.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from centre.days import validate_day
from centre.exports import inert

LARGEST: Final = 12
"""Digits before the decimal point; no real number of hours or dollars has more."""


class BadLine(Exception):
    """Why a line (or a whole file) cannot be taken, as a sentence."""


@dataclass(frozen=True, order=True)
class Problem:
    """What is wrong, and where; line 0 is the file itself."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file} line {self.line}: {self.reason}" if self.line else f"{self.file}: {self.reason}"


@dataclass(frozen=True)
class Line:
    """One line of a spreadsheet; `number` counts the lines of the file, the header is line 1."""

    file: str
    number: int
    cells: Mapping[str, str]
    kind: str = ""
    """What the file holds: "members"."""
    fault: str = ""
    """Why its cells cannot be told apart; empty for a line that can be read."""
    beyond: tuple[str, ...] = ()
    """Cells that no column is named for."""

    @property
    def key(self) -> tuple[str, int]:
        return self.kind, self.number

    def text(self, column: str, *, most: int, needed: bool = True) -> str:
        """The cell's text. Raises BadLine when it is missing, longer than `most`, or holds control characters."""
        value = self.cells.get(column, "")
        if needed and not value:
            raise BadLine(_("%(column)s is empty.") % {"column": column})
        if len(value) > most:
            raise BadLine(_("%(column)s is longer than %(most)s characters.") % {"column": column, "most": most})
        if any(unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"} for letter in value):
            raise BadLine(_("%(column)s has a line break or a control character in it.") % {"column": column})
        return value

    def words(self, column: str, *, most: int = 2_000) -> list[str]:
        """The cell's words, each once, in order."""
        return list(dict.fromkeys(self.text(column, most=most, needed=False).split()))

    def day(self, column: str) -> date:
        """The cell's day, in ISO form, in a year that can be meant."""
        value = self.text(column, most=40)
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
            try:
                day = date.fromisoformat(value)
                validate_day(day)
            except ValidationError as error:
                raise BadLine(f"{column}: {error.messages[0]}") from None
            except ValueError:
                pass
            else:
                return day
        raise BadLine(
            _("%(column)s “%(value)s” is not a day; write it like 2026-01-31.") % {"column": column, "value": value}
        )

    def whole(self, column: str) -> int:
        """The cell's whole number, not negative."""
        return self._decimal(column, places=0)

    def cents(self, column: str) -> int | None:
        """The cell's amount of money in cents; None when it is empty."""
        return self._decimal(column, places=2) if self.cells.get(column) else None

    def gpu_seconds(self, column: str) -> int:
        """The cell's GPU-hours as GPU-seconds, exactly."""
        parts = self.hours(column) * 3600
        if parts % 10_000:
            raise BadLine(
                _("%(column)s %(value)s is not a whole number of GPU-seconds.")
                % {"column": column, "value": self.cells[column]}
            )
        if not parts:
            raise BadLine(_("%(column)s has to be more than 0.") % {"column": column})
        return parts // 10_000

    def hours(self, column: str) -> int:
        """The cell's hours in ten-thousandths, exactly."""
        return self._decimal(column, places=4)

    def _decimal(self, column: str, *, places: int) -> int:
        """The cell's number, scaled by 10 to the power of `places`."""
        value = self.text(column, most=40)
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)?" if places else r"[0-9]+", value):
            example = {0: "64", 2: "25.50", 4: "10000.5"}[places]
            raise BadLine(
                _("%(column)s “%(value)s” is not a number; write it like %(example)s.")
                % {"column": column, "value": value, "example": example}
            )
        whole, _point, fraction = value.partition(".")
        if len(fraction) > places:
            raise BadLine(
                _("%(column)s %(value)s has more than %(places)s decimals.")
                % {"column": column, "value": value, "places": places}
            )
        if len(whole.lstrip("0")) > (LARGEST if places else 9):
            raise BadLine(_("%(column)s %(value)s is too large.") % {"column": column, "value": value})
        return int(whole + fraction.ljust(places, "0"))


class BadFile(Exception):
    """A file that cannot be read as a spreadsheet at all, or not beyond some line."""

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(reason)
        self.problem = Problem(file, line, reason)


@dataclass(frozen=True)
class Sheet:
    """A file that was read: its columns as they stand, its lines, and the columns that nobody asked for."""

    columns: list[str]
    lines: list[Line]
    unknown: list[str]


def contents_of(path: Path) -> bytes:
    """The file as it is. Raises BadFile."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadFile(path.name, 0, _("It cannot be opened: %(error)s.") % {"error": error.strerror}) from None


def header_of(name: str, content: bytes) -> list[str]:
    """The names of the columns, in lower case. Raises BadFile."""
    rows = _rows(name, _decoded(name, content))
    return [cell.strip().lower() for cell in next(rows, (1, []))[1]]


def parse(name: str, content: bytes, *, kind: str, needed: tuple[str, ...], optional: tuple[str, ...] = ()) -> Sheet:
    """The lines of a CSV file. A line with more cells than there are columns has a `fault`. Raises BadFile."""
    rows = _rows(name, _decoded(name, content))
    header_line, header = next(rows, (1, []))
    columns = [cell.strip().lower() for cell in header]
    _check_header(name, header_line, columns, header, needed)
    lines = []
    for number, cells in rows:
        values = [as_meant(cell.strip()) for cell in cells]
        if not any(values):
            continue
        fault = ""
        if any(values[len(columns) :]):
            fault = _("It has %(cells)s cells, but the header names %(columns)s columns. Is a comma not in quotes?") % {
                "cells": len(values),
                "columns": len(columns),
            }
        padded = values + [""] * (len(columns) - len(values))
        named = {column: cell for column, cell in zip(columns, padded, strict=False) if column}
        lines.append(Line(name, number, named, kind, fault, tuple(values[len(columns) :])))
    unknown = [name for name in columns if name and name not in needed and name not in optional]
    return Sheet(columns, lines, unknown)


def as_meant(cell: str) -> str:
    """The cell without the apostrophe that the portal's own files put before what would run as a formula."""
    return cell[1:] if cell.startswith("'") and inert(cell[1:]) == cell else cell


def _decoded(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadFile(name, line, _("It is not UTF-8 text. Save the spreadsheet as “CSV UTF-8”.")) from None


def _rows(file: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """Each row with the line on which it begins (a quoted cell may hold line breaks)."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    begins = 1
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise BadFile(file, begins, _("It is not CSV from here on: %(error)s.") % {"error": error}) from None
        if row is None:
            return
        yield begins, row
        begins = reader.line_num + 1


def _check_header(file: str, line: int, columns: list[str], header: list[str], needed: tuple[str, ...]) -> None:
    missing = [name for name in needed if name not in columns]
    if missing:
        if len(columns) == 1 and (";" in header[0] or "\t" in header[0]):
            raise BadFile(file, line, _("Its columns are not separated by commas. Save it as “CSV UTF-8” with commas."))
        raise BadFile(file, line, _("The header lacks these columns: %(columns)s.") % {"columns": ", ".join(missing)})
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise BadFile(
            file, line, _("The header names these columns twice: %(columns)s.") % {"columns": ", ".join(twice)}
        )
