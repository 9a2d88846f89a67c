"""One record of a sacct export: its columns as values that the books can hold.

The digest covers everything that is kept, in one spelling: exports that differ
in delimiter, field order, time format or time zone give the same one.
"""

import re
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from operator import itemgetter
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from django.utils.translation import gettext_noop

from allocations.charging import gpu_parts
from allocations.slurm.header import NEEDED, Header
from allocations.slurm.instants import NOT_YET, Instants

TOO_FEW_FIELDS: Final = gettext_noop("The line has fewer fields than the header names.")
TOO_MANY_FIELDS: Final = gettext_noop("The line has more fields than the header names.")
CUT_SHORT: Final = gettext_noop("The file ends in the middle of this record.")
OTHER_EXPORT: Final = gettext_noop(
    "Another export with other fields or another delimiter begins here. Import it as a file of its own."
)
BAD_CHARACTERS: Final = gettext_noop("A needed field holds NUL or bytes that are not UTF-8.")
BAD_JOB_ID: Final = gettext_noop("The raw job id is not a whole number.")
BAD_DB_INDEX: Final = gettext_noop("The database index is not a whole number.")
NO_SUBMIT: Final = gettext_noop("The submit time is missing.")
ENDS_BEFORE_START: Final = gettext_noop("The run ends before it starts.")
NO_ACCOUNT: Final = gettext_noop("The account is empty.")
NO_STATE: Final = gettext_noop("The state is empty.")
TOO_LONG: Final = gettext_noop("The account, user, partition, state or AllocTRES is too long.")
OTHER_CLUSTER: Final = gettext_noop("The record belongs to another cluster.")

LONGEST_NAME: Final = 128
LONGEST_STATE: Final = 64
LONGEST_JOB_NAME: Final = 1_000
LONGEST_TRES: Final = 4_000
_LONGEST_RAW: Final = 10_000
_LONGEST_NODE_LIST: Final = 1_000
_LONGEST_EXIT_CODE: Final = 32
_LONGEST_JOB_ID: Final = 18
_LONGEST_LIMIT: Final = 9
_LONGEST_DB_INDEX: Final = 20
_REMEMBERED: Final = 20_000
_LONGEST_REMEMBERED: Final = 200

_ACTIVE: Final = frozenset(
    (
        *("PENDING", "RUNNING", "SUSPENDED", "CONFIGURING", "COMPLETING", "STOPPED", "SIGNALING"),
        *("STAGE_OUT", "SPECIAL_EXIT", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD"),
    )
)
_WAITING: Final = frozenset(("PENDING", "SPECIAL_EXIT", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD"))
_DAMAGE: Final = re.compile("[\0\ud800-\udfff]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

_COLUMNS: Final = (
    *("JobIDRaw", "Account", "State", "Submit", "Start", "End", "AllocTRES", "Partition", "User"),
    *("JobID", "DBIndex", "QOS", "ExitCode", "Eligible", "TimelimitRaw", "NodeList", "Cluster", "JobName"),
)


def is_waiting(state: str) -> bool:
    """Whether a run in this state holds no GPUs, whatever its record says of a start."""
    return state == "PENDING"


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


def bad(line: int, text: str, reason: str) -> BadRecord:
    """A bad record with its text made storable."""
    return BadRecord(line, clean(text[:_LONGEST_RAW]), reason)


class RecordReader:
    """Turns the parts of one record into a row, and remembers the latest instant it saw."""

    def __init__(self, header: Header, *, zone: ZoneInfo, cluster: str) -> None:
        # with a guessable delimiter nothing right of free text can be told apart
        usable = header.fields if header.exact else header.fields[: header.first_free]
        places = {name: usable.index(name) for name in _COLUMNS if name in usable}
        if not header.exact and "JobName" in header.fields:
            places["JobName"] = header.first_free
        # an absent column is read from an empty part put behind the others
        self._pick = itemgetter(*(places.get(name, header.full) for name in _COLUMNS))
        self._name_in = _name_finder(header)
        self._has_cluster = "Cluster" in places
        self._cluster = cluster
        self._header = header
        instants = Instants(zone)
        self._instant, self._days, self._clock = instants.read, instants.days, instants.clock
        self._states: dict[str, tuple[str, bool, bool]] = {}
        self._gpus: dict[str, int] = {}
        self._short_names: set[tuple[str, str, str]] = set()
        # how many delimiters the text right of the first free-text column has at least
        self._text_at = header.first_free
        self._text_delimiters = 0 if header.exact else len(header.fields) - 1 - header.first_free
        self.latest = 0
        self.misled = False
        """Set after the header of another export: no record fits our columns until ours comes again."""
        self.damaged = False
        """Set once the file showed NUL or bytes that are not UTF-8: look closer from there on."""

    # one function, because a call costs more than most of these lines and a million records pass
    def read(self, line: int, parts: list[str]) -> Row:  # noqa: PLR0911, PLR0912, PLR0915
        """The row of the parts of one whole record."""
        parts.append("")
        picked = self._pick(parts)
        raw, account, state_text, submit_text, start_text, end_text, tres, partition, user = picked[:9]
        job_id, db_index, qos, exit_code, eligible_text, limit, nodes, cluster, name = picked[9:]
        if not (raw.isdecimal() and raw.isascii() and raw[0] != "0" and len(raw) <= _LONGEST_JOB_ID) or "." in job_id:
            return self._no_run(line, parts, raw, job_id)
        if self.misled:
            return self._bad(line, parts, OTHER_EXPORT)
        if self._text_delimiters and self.lacks_text(parts):
            return self._bad(line, parts, TOO_FEW_FIELDS)
        if self.damaged:
            if _DAMAGE.search("\n".join(picked[:8])):
                return self._bad(line, parts, BAD_CHARACTERS)
            user, job_id, db_index, qos, exit_code, nodes, cluster, name = map(
                clean, (user, job_id, db_index, qos, exit_code, nodes, cluster, name)
            )
        if cluster != self._cluster and self._has_cluster:
            return self._bad(line, parts, OTHER_CLUSTER)
        days, clock, instant = self._days, self._clock, self._instant
        try:
            submit: int | None
            start: int | None
            end: int | None
            if submit_text.isdecimal() or end_text in NOT_YET:
                submit, start, end = instant(submit_text), instant(start_text), instant(end_text)
            else:
                try:
                    submit = days[submit_text[:11]] + clock[submit_text[11:]]
                    start = days[start_text[:11]] + clock[start_text[11:]]
                    end = days[end_text[:11]] + clock[end_text[11:]]
                except KeyError:
                    submit, start, end = instant(submit_text), instant(start_text), instant(end_text)
            gpus = self._gpus.get(tres)
            if gpus is None:
                gpus = self._counted(tres)
            known = self._states.get(state_text)
            state, active, waiting = known if known is not None else self._understood(state_text)
            if (account, user, partition) not in self._short_names:
                self._check_names(account, user, partition)
        except ValueError as refused:
            return self._bad(line, parts, str(refused))
        if submit is None:
            return self._bad(line, parts, NO_SUBMIT)
        if end is not None and start is not None and end < start and tres:
            return self._bad(line, parts, ENDS_BEFORE_START)
        if eligible_text == submit_text:
            eligible: int | None = submit
        else:
            try:
                eligible = instant(eligible_text)
            except ValueError:  # nothing hangs on it
                eligible = None
        if db_index and not (db_index.isdecimal() and db_index.isascii() and len(db_index) <= _LONGEST_DB_INDEX):
            return self._bad(line, parts, BAD_DB_INDEX)
        index = db_index.lstrip("0")
        plain_limit = limit.isdecimal() and limit.isascii() and len(limit) <= _LONGEST_LIMIT
        minutes = int(limit) if plain_limit else None
        if self._name_in is not None:
            name = self._name_in(name)
        if len(name) > LONGEST_JOB_NAME or name[-1:] == "\n":
            name = _capped(name.rstrip("\n"), LONGEST_JOB_NAME)
        if len(nodes) > _LONGEST_NODE_LIST or len(job_id) + len(qos) + len(exit_code) > _LONGEST_EXIT_CODE:
            nodes, job_id = _capped(nodes, _LONGEST_NODE_LIST), _capped(job_id, LONGEST_NAME)
            qos, exit_code = _capped(qos, LONGEST_NAME), _capped(exit_code, _LONGEST_EXIT_CODE)

        last = end if end is not None else start
        if last is None or last < submit:
            last = submit
        if start is not None and start > last:
            last = start
        self.latest = max(self.latest, last)

        times = f"{submit}\0{eligible}\0{start}\0{end}\0{minutes}"
        columns = (index, raw, job_id, account, user, partition, qos, state, exit_code, times, tres, nodes, name)
        return _new_record(
            (
                *(line, index or None, int(raw), job_id, account, user, partition, qos, state, exit_code),
                *(submit, eligible, start, end, minutes, tres, gpus, nodes, name),
                end is not None and not active,
                waiting and (state == "PENDING" or start is None),
                blake2b("\0".join(columns).encode(), digest_size=16).hexdigest(),
            )
        )

    def lacks_text(self, parts: list[str]) -> bool:
        """Whether the text of a record has fewer columns than the header names."""
        return parts[self._text_at : self._text_at + 1] != [] and (
            parts[self._text_at].count(self._header.delimiter) < self._text_delimiters
        )

    def _no_run(self, line: int, parts: list[str], raw: str, job_id: str) -> Row:
        """A step or a repeated header; anything else without a job id is bad."""
        job, dot, step = raw.partition(".")
        if "." in job_id or (dot and job.isdecimal() and step):
            return Ignored(line)
        text = self._header.delimiter.join(parts[:-1])
        header, _newline, rest = text.removeprefix("\ufeff").partition("\n")
        if header == self._header.text:  # ours again: what stands behind it is read by our columns
            self.misled = False
            return Ignored(line) if not rest.strip("\n") else self._bad(line, parts, TOO_FEW_FIELDS)
        if set(NEEDED) <= set(text.split(self._header.delimiter)):
            self.misled = True
        if self.misled:
            return self._bad(line, parts, OTHER_EXPORT)
        return self._bad(line, parts, BAD_JOB_ID)

    def _bad(self, line: int, parts: list[str], reason: str) -> BadRecord:
        return bad(line, self._header.delimiter.join(parts[:-1]), reason)

    def _counted(self, tres: str) -> int:
        """The GPUs of an AllocTRES text; ValueError with a sentence."""
        if len(tres) > LONGEST_TRES:
            raise ValueError(TOO_LONG)
        if len(self._gpus) >= _REMEMBERED:
            self._gpus.clear()
        gpus = sum(number for _kind, number in gpu_parts(tres))
        if len(tres) <= _LONGEST_REMEMBERED:
            self._gpus[tres] = gpus
        return gpus

    def _understood(self, text: str) -> tuple[str, bool, bool]:
        """The state's first word, whether the job is still on its way, and whether it waits."""
        words = text.split()
        if not words:
            raise ValueError(NO_STATE)
        state = words[0].upper()
        if len(state) > LONGEST_STATE:
            raise ValueError(TOO_LONG)
        if len(self._states) >= _REMEMBERED:
            self._states.clear()
        known = (state, state in _ACTIVE, state in _WAITING)
        if len(text) <= _LONGEST_REMEMBERED:
            self._states[text] = known
        return known

    def _check_names(self, account: str, user: str, partition: str) -> None:
        """ValueError with a sentence when a name is missing or longer than the books hold."""
        if not account.strip():
            raise ValueError(NO_ACCOUNT)
        if max(len(account), len(user), len(partition)) > LONGEST_NAME:
            raise ValueError(TOO_LONG)
        if len(self._short_names) >= _REMEMBERED:
            self._short_names.clear()
        self._short_names.add((account, user, partition))


def _name_finder(header: Header) -> Callable[[str], str] | None:
    """How the job's name is found in the text right of the first free-text column.

    None when the column is the name. Where other free text stands beside it, a
    name that holds the delimiter loses what is on the other side of it.
    """
    free = header.fields[header.first_free :]
    if header.exact or free == ("JobName",):
        return None
    if free[-1] == "JobName":
        return lambda text: text.rpartition(header.delimiter)[2]
    if free[0] == "JobName":
        return lambda text: text.partition(header.delimiter)[0]
    return lambda text: ""


def clean(text: str) -> str:
    """Text that a database holds: NUL as its picture, damaged bytes as the replacement character."""
    return _SURROGATE.sub("\ufffd", text.replace("\0", "\u2400"))


def _capped(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "\u2026"
