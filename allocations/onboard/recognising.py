"""What an officer hands over: is it a spreadsheet, and which? What is not is refused with what to do about it."""

from dataclasses import dataclass
from typing import Final

from django.utils.translation import gettext as _

from allocations.onboard.kinds import UPLOADED, Kind
from allocations.onboard.lines import BadFile, Sheet, header_of, parse

LARGEST_BYTES: Final = 10_000_000
MOST_LINES: Final = 20_000
LONGEST_NAME: Final = 200
PROBLEM: Final = "problem"
"""The column that the file of the wrong lines has beside its own; nobody reads it when it comes back."""

_WORKBOOKS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_WIDE: Final = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Recognised:
    """A file that can be read, and what it holds."""

    name: str
    kind: Kind
    content: bytes
    sheet: Sheet


def recognise(name: str, content: bytes) -> Recognised:
    """The file as one of the kinds, told by its columns. Raises BadFile with a sentence about what to do."""
    _refuse_what_is_no_text(name, content)
    columns = header_of(name, content)
    kind = _kind_of(name, columns)
    sheet = parse(name, content, kind=kind.name, needed=kind.needed, optional=(*kind.optional, PROBLEM))
    if not sheet.lines:
        raise BadFile(name, 0, _("It has a header, but no lines below it."))
    if len(sheet.lines) > MOST_LINES:
        raise BadFile(
            name,
            0,
            _("It has %(lines)s lines, and %(most)s at a time are the most. Split it; each part needs the header.")
            % {"lines": len(sheet.lines), "most": MOST_LINES},
        )
    return Recognised(name, kind, content, sheet)


def refuse_several_of_a_kind(files: list[Recognised]) -> None:
    """Raise BadFile where two files hold the same, or have the same name."""
    for number, file in enumerate(files):
        for earlier in files[:number]:
            if earlier.kind is file.kind:
                raise BadFile(
                    file.name,
                    0,
                    _("It holds %(kind)s, and so does %(other)s. Hand them over one after the other.")
                    % {"kind": file.kind.name, "other": earlier.name},
                )
            if earlier.name == file.name:
                raise BadFile(file.name, 0, _("Two files have this name. Rename one of them."))


def too_large(name: str) -> BadFile:
    """What to raise for a file above LARGEST_BYTES, before it is read."""
    return BadFile(
        name,
        0,
        _("It is larger than %(limit)s MB, far more than a spreadsheet of lines. Is it the right file?")
        % {"limit": LARGEST_BYTES // 1_000_000},
    )


def _refuse_what_is_no_text(name: str, content: bytes) -> None:
    if not content.strip():
        raise BadFile(name, 0, _("It is empty."))
    if content.startswith(_WORKBOOKS):
        raise BadFile(
            name,
            0,
            _("It is an Excel workbook. Save each sheet as “CSV UTF-8 (comma delimited)” and choose that file."),
        )
    if content.startswith(_WIDE):
        raise BadFile(name, 0, _("It is “Unicode text”, not UTF-8. Save the spreadsheet as “CSV UTF-8”."))
    if b"\0" in content:
        raise BadFile(name, 0, _("It is not a text file. Save the spreadsheet as “CSV UTF-8” and choose that file."))


def _kind_of(name: str, columns: list[str]) -> Kind:
    fitting = [kind for kind in UPLOADED.values() if set(kind.needed) <= set(columns)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise BadFile(
            name,
            1,
            _("Its columns are those of several spreadsheets: %(kinds)s. Hand over one file for each.")
            % {"kinds": ", ".join(kind.name for kind in fitting)},
        )
    if len(columns) == 1 and (";" in columns[0] or "\t" in columns[0]):
        raise BadFile(
            name,
            1,
            _(
                "Its columns are separated by semicolons or tabs. Save it as “CSV UTF-8 (comma delimited)”; if Excel "
                "still writes semicolons, choose the comma as list separator in the regional settings of the computer."
            ),
        )
    nearest = max(UPLOADED.values(), key=lambda kind: len(set(kind.columns) & set(columns)))
    known = set(nearest.columns)
    if not known & set(columns):
        raise BadFile(
            name, 1, _("None of its columns is known. The first line has to name the columns, as this page lists them.")
        )
    missing = ", ".join(column for column in nearest.needed if column not in columns)
    reason = _("It looks like %(kind)s, but the header lacks these columns: %(missing)s.") % {
        "kind": nearest.name,
        "missing": missing,
    }
    unknown = [column for column in columns if column and column not in known and column != PROBLEM]
    if unknown:
        reason += " " + _("These are not known: %(unknown)s. Is one of them misspelt?") % {
            "unknown": ", ".join(unknown)[:300]
        }
    raise BadFile(name, 1, reason)
