"""The first line of a sacct export: which fields, and what stands between them.

`sacct -P` escapes nothing, so whether a job's name can imitate a record hangs
on the delimiter: a long random one cannot be typed into a name beforehand.
"""

import re
from typing import Final, NamedTuple

from django.utils.translation import gettext_lazy as _

NEEDED: Final = ("JobIDRaw", "Account", "State", "Submit", "Start", "End", "AllocTRES", "Partition")
WANTED: Final = (
    *("JobID", "DBIndex", "User", "QOS", "ExitCode", "Eligible"),
    *("TimelimitRaw", "NodeList", "JobName", "Cluster"),
)
# what a person can write into a job; a constraint holds "|" when it says "or"
FREE_TEXT: Final = frozenset(
    (
        *("AdminComment", "Comment", "Constraints", "Container", "Extra", "JobName", "Licenses"),
        *("StdErr", "StdIn", "StdOut", "SubmitLine", "SystemComment", "WCKey", "WorkDir"),
    )
)
_KNOWN: Final = frozenset(
    (
        *(*NEEDED, *WANTED, *FREE_TEXT),
        *("AllocCPUS", "AllocNodes", "AssocID", "AveCPU", "AveCPUFreq", "AveDiskRead", "AveDiskWrite"),
        *("AvePages", "AveRSS", "AveVMSize", "BlockID", "ConsumedEnergy", "ConsumedEnergyRaw", "CPUTime"),
        *("CPUTimeRAW", "DerivedExitCode", "Elapsed", "ElapsedRaw", "FailedNode", "Flags", "GID", "Group"),
        *("Layout", "MaxDiskRead", "MaxDiskReadNode", "MaxDiskReadTask", "MaxDiskWrite", "MaxDiskWriteNode"),
        *("MaxDiskWriteTask", "MaxPages", "MaxPagesNode", "MaxPagesTask", "MaxRSS", "MaxRSSNode"),
        *("MaxRSSTask", "MaxVMSize", "MaxVMSizeNode", "MaxVMSizeTask", "McsLabel", "MinCPU", "MinCPUNode"),
        *("MinCPUTask", "NCPUS", "NNodes", "NTasks", "Planned", "PlannedCPU", "PlannedCPURAW", "Priority"),
        *("QOSRAW", "QOSREQ", "Reason", "ReqCPUFreq", "ReqCPUFreqGov", "ReqCPUFreqMax", "ReqCPUFreqMin"),
        *("ReqCPUS", "ReqMem", "ReqNodes", "ReqReservation", "ReqTRES", "Reservation", "ReservationId"),
        *("Reserved", "ResvCPU", "ResvCPURAW", "Restarts", "SLUID", "SegmentSize", "Suspended", "SystemCPU"),
        *("Timelimit", "TotalCPU", "TRESUsageInAve", "TRESUsageInMax", "TRESUsageInMaxNode"),
        *("TRESUsageInMaxTask", "TRESUsageInMin", "TRESUsageInMinNode", "TRESUsageInMinTask"),
        *("TRESUsageInTot", "TRESUsageOutAve", "TRESUsageOutMax", "TRESUsageOutMaxNode"),
        *("TRESUsageOutMaxTask", "TRESUsageOutMin", "TRESUsageOutMinNode", "TRESUsageOutMinTask"),
        *("TRESUsageOutTot", "UID", "UserCPU"),
    )
)
_KNOWN_BY_FRONT: Final = {
    front: tuple(name for name in _KNOWN if name.startswith(front)) for front in {name[:2] for name in _KNOWN}
}
_LONGEST: Final = 8_000
_LONGEST_DELIMITER: Final = 256
_NAME: Final = re.compile("[A-Za-z][A-Za-z0-9_]*")
_SAFE_LENGTH: Final = 16
_SAFE_VARIETY: Final = 6


class UnreadableExport(Exception):
    """The file cannot be read at all; the message says what it lacks and what to do."""


class Header(NamedTuple):
    """The fields of an export in their order, and its delimiter."""

    text: str
    fields: tuple[str, ...]
    delimiter: str
    guessable_delimiter: bool
    first_free: int
    """Position of the first field that holds free text; len(fields) when none does."""

    @property
    def exact(self) -> bool:
        """Whether the delimiters of a record can simply be counted: no text can hold one."""
        return not self.guessable_delimiter or self.first_free == len(self.fields)

    @property
    def full(self) -> int:
        """How many parts a whole record has: fields, or those left of free text and that text."""
        return len(self.fields) if self.exact else self.first_free + 1

    @property
    def ends_in_text(self) -> bool:
        """Whether a line without delimiter can continue a whole record."""
        return not self.exact or self.fields[-1] in FREE_TEXT


def read_header(text: str) -> Header:
    """The header of an export; UnreadableExport names what is missing."""
    delimiter = _delimiter_of(text) if len(text) < _LONGEST else None
    if delimiter is None:
        raise _names_no_fields()
    if not delimiter.strip(" "):
        raise UnreadableExport(
            _("The columns are padded with spaces. Export with sacct -P, so that a delimiter stands between them.")
        )
    fields = _names(text, delimiter)
    if not fields[-1]:
        raise UnreadableExport(_("The lines end with a delimiter. Export with sacct -P (--parsable2) in place of -p."))
    lacking = [name for name in NEEDED if name not in fields]
    if lacking:
        raise UnreadableExport(
            _("The export lacks the fields %(fields)s. Name them in --format and export again.")
            % {"fields": ", ".join(lacking)}
        )
    if "\0" in delimiter or not all(map(_NAME.fullmatch, fields)):
        raise _names_no_fields()
    guessable = is_guessable(delimiter)
    free = next((i for i, name in enumerate(fields) if name in FREE_TEXT), len(fields))
    behind = [name for name in NEEDED if fields.index(name) > free]
    if guessable and behind:
        raise UnreadableExport(
            _(
                "The fields %(fields)s stand to the right of free text (%(free)s), which can imitate the "
                "delimiter. Put free text last in --format, or give --delimiter a random text of 16 or more characters."
            )
            % {"fields": ", ".join(behind), "free": fields[free]}
        )
    return Header(text, fields, delimiter, guessable, free)


def _names_no_fields() -> UnreadableExport:
    return UnreadableExport(_("The first line does not name the fields. Export with sacct -P and without --noheader."))


def is_guessable(delimiter: str) -> bool:
    """Whether somebody could have typed it into a job's name beforehand: short, or not varied."""
    repeats = delimiter in (delimiter + delimiter)[1:-1]
    return len(delimiter) < _SAFE_LENGTH or len(set(delimiter)) < _SAFE_VARIETY or repeats


def _delimiter_of(text: str) -> str | None:
    """What stands between the field names: the reading that explains most of the line.

    A delimiter may consist of letters, so that several readings begin alike.
    """
    best: str | None = None
    best_score = 0
    for candidate in _candidates(text):
        names = _names(text, candidate)
        known = sum(name in _KNOWN for name in names)
        score = 2 * known - len(names) if known > 1 else 0
        if known > 1 and (best is None or score > best_score):
            best, best_score = candidate, score
    return best


def _names(text: str, delimiter: str) -> tuple[str, ...]:
    """The field names; a known one is taken whole even where the delimiter occurs in it."""
    names = []
    at = 0
    while at <= len(text):
        fitting = [
            name
            for name in _KNOWN_BY_FRONT.get(text[at : at + 2], ())
            if text.startswith(name, at) and (at + len(name) == len(text) or text.startswith(delimiter, at + len(name)))
        ]
        end = text.find(delimiter, at)
        name = max(fitting, key=len) if fitting else text[at : end if end >= 0 else len(text)]
        names.append(name)
        at += len(name) + len(delimiter)
    return tuple(names)


def _candidates(text: str) -> list[str]:
    """Texts between a known name and a later one, shortest first, from the start of the line."""
    window = text[: 4 * _LONGEST_DELIMITER]
    spots = [(at, name) for name in _KNOWN for at in _positions(window, name)]
    starts = sorted({at for at, _name in spots})
    found = set()
    first = [spot for spot in spots if spot[0] == 0] or spots
    for at, name in first:
        end = at + len(name)
        for start in starts:
            if end < start <= end + _LONGEST_DELIMITER:
                found.add(text[end:start])
    return sorted(found, key=lambda gap: (len(gap), gap))


def _positions(text: str, name: str) -> list[int]:
    """Every place at which a name begins, also inside another name."""
    places = []
    at = text.find(name)
    while at >= 0:
        places.append(at)
        at = text.find(name, at + 1)
    return places
