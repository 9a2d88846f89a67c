"""One record of a sacct export: its columns as values that the books can hold.

The digest covers everything that is kept, in one spelling: exports that differ
in delimiter, field order, time format or time zone give the same one.
"""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import partial
from hashlib import blake2b
from operator import itemgetter
import re
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from django.utils.translation import gettext_noop

from allocations.charging import gpu_parts
from allocations.slurm.header import FREE_TEXT, Header

TOO_FEW_FIELDS: Final = gettext_noop("The line has fewer fields than the header names.")
TOO_MANY_FIELDS: Final = gettext_noop("The line has more fields than the header names.")
CUT_SHORT: Final = gettext_noop("The file ends in the middle of this record.")
OTHER_EXPORT: Final = gettext_noop(
    "Another export with other fields or another delimiter begins here. Import it as a file of its own."
)
BAD_CHARACTERS: Final = gettext_noop("A needed field holds NUL or bytes that are not UTF-8.")
BAD_JOB_ID: Final = gettext_noop("The raw job id is not a whole number.")
BAD_DB_INDEX: Final = gettext_noop("The database index is not a whole number.")
BAD_TIME: Final = gettext_noop("Submit, Start or End is not a time that can be read.")
NO_SUBMIT: Final = gettext_noop("The submit time is missing.")
ABSURD_TIME: Final = gettext_noop("Submit, Start or End lies before the year 2000 or after 2199.")
ENDS_BEFORE_START: Final = gettext_noop("The run ends before it starts.")
NO_ACCOUNT: Final = gettext_noop("The account is empty.")
NO_STATE: Final = gettext_noop("The state is empty.")
TOO_LONG: Final = gettext_noop("The account, user, partition, state or AllocTRES is too long.")
OTHER_CLUSTER: Final = gettext_noop("The record belongs to another cluster.")

LONGEST_NAME: Final = 128
LONGEST_JOB_NAME: Final = 1_000
_LONGEST_TRES: Final = 4_000
_LONGEST_RAW: Final = 10_000
_LARGEST_JOB_ID_DIGITS: Final = 18
_LARGEST_LIMIT_DIGITS: Final = 9
_LARGEST_DB_INDEX_DIGITS: Final = 20
_EARLIEST: Final = 946_684_800  # 2000-01-01T00:00:00Z
_LATEST: Final = 7_258_118_400  # 2200-01-01T00:00:00Z
_CACHED: Final = 20_000

_ACTIVE: Final = frozenset(
    "PENDING RUNNING SUSPENDED CONFIGURING COMPLETING STOPPED SIGNALING STAGE_OUT SPECIAL_EXIT "
    "REQUEUE_HOLD REQUEUE_FED RESV_DEL_HOLD".split()
)
_WAITING: Final = frozenset("SPECIAL_EXIT REQUEUE_HOLD REQUEUE_FED RESV_DEL_HOLD".split())
_NOT_YET: Final = frozenset(("", "Unknown", "None"))
_DAMAGE: Final = re.compile("[\0\ud800-\udfff]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

_COLUMNS: Final = (
    *("JobIDRaw", "Account", "State", "Submit", "Start", "End", "AllocTRES", "Partition"),
    *("JobID", "DBIndex", "User", "QOS", "ExitCode", "Eligible", "TimelimitRaw", "NodeList", "Cluster"),
    "JobName",
)


class Record(NamedTuple):
    """One run as an export saw it; instants in epoch seconds, None where unknown."""

    line: int
    db_index: str | None
    job_id_raw: int
    job_id: str
    account: str
    user: str
    partition: str
    qos: str
    state: str
    exit_code: str
    submit: int
    eligible: int | None
    start: int | None
    end: int | None
    time_limit_minutes: int | None
    alloc_tres: str
    gpus: int
    node_list: str
    job_name: str
    finished: bool
    pending: bool
    digest: str


class BadRecord(NamedTuple):
    """What could not be read: where it begins, its text (capped), and why.

    The reason is an English sentence of the catalogue; show it through gettext().
    """

    line: int
    text: str
    reason: str


class Ignored(NamedTuple):
    """A line that is no run: a step, a repeated header, a blank line."""

    line: int


Row = Record | BadRecord | Ignored

# the field names of Record are not looked up again for each of a million rows
_new_record: Callable[[tuple[object, ...]], Record] = partial(tuple.__new__, Record)


class RecordReader:
    """Turns the fields of one record into a row, and remembers the latest instant it saw."""

    def __init__(self, header: Header, *, zone: ZoneInfo, cluster: str) -> None:
        # with a guessable delimiter nothing right of free text can be told apart
        usable = header.fields if header.exact else header.fields[: header.first_free]
        places = {name: usable.index(name) for name in _COLUMNS if name in usable}
        if not header.exact and "JobName" in header.fields:
            places["JobName"] = header.first_free
        # an absent column is read from an empty part put behind the others
        self._pick = itemgetter(*(places.get(name, header.full) for name in _COLUMNS))
        self._name_side = _name_side(header)
        self._delimiter = header.delimiter
        self._header_text = header.text
        self._has_cluster = "Cluster" in places
        self._cluster = cluster
        self._days = _Days(zone)
        self._clock = _Clock()
        self._instant = partial(_instant, zone=zone)
        self._states: dict[str, tuple[str, bool, bool]] = {}
        self._gpus: dict[str, int] = {"": 0}
        self._names: set[tuple[str, str, str]] = set()
        self.latest = 0
        self.damaged = False
        """Set once the file showed NUL or bytes that are not UTF-8: look closer from there on."""

    def read(self, line: int, parts: list[str]) -> Row:
        """The row of the parts of one whole record."""
        parts.append("")
        picked = self._pick(parts)
        parts.pop()
        (raw, account, state_text, submit_text, start_text, end_text, tres, partition) = picked[:8]
        (job_id, db_text, user, qos, exit_code, eligible_text, limit, nodes, cluster, name) = picked[8:]

        if not (raw.isdecimal() and raw.isascii() and len(raw) <= _LARGEST_JOB_ID_DIGITS):
            return self._no_run(line, parts, raw)
        if "." in job_id:
            return Ignored(line)
        if self.damaged:
            if _DAMAGE.search("".join(picked[:8])):
                return self._bad(line, parts, BAD_CHARACTERS)
            job_id, db_text, user, qos, exit_code, nodes, cluster, name = map(
                _clean, (job_id, db_text, user, qos, exit_code, nodes, cluster, name)
            )
        if cluster != self._cluster and self._has_cluster:
            return self._bad(line, parts, OTHER_CLUSTER)

        # ------- times: a day and a clock reading are looked up, anything else is worked out
        days, clock = self._days, self._clock
        try:
            if submit_text.isdecimal():
                submit: int | None = self._instant(submit_text)
            else:
                submit = days[submit_text[:11]] + clock[submit_text[11:]]
        except KeyError:
            submit = self._instant(submit_text)
