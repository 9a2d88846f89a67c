"""Judges what a reader made of a sacct file, worked out again from the bytes.

Nothing here imports the reader or what it uses. A file is cut at its newlines, the rows are laid upon the lines, and
each row has to say what its own lines say: so every line belongs to exactly one row, whatever the file looks like.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

FREE = frozenset(
    (
        *("AdminComment", "Comment", "Constraints", "Container", "Extra", "JobName", "Licenses", "StdErr", "StdIn"),
        *("StdOut", "SubmitLine", "SystemComment", "WCKey", "WorkDir"),
    )
)
NEEDED = ("JobIDRaw", "Account", "State", "Submit", "Start", "End", "AllocTRES", "Partition")
GOING_ON = frozenset(
    (
        *("PENDING", "RUNNING", "SUSPENDED", "CONFIGURING", "COMPLETING", "STOPPED", "SIGNALING", "STAGE_OUT"),
        *("SPECIAL_EXIT", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD"),
    )
)
PLAIN_TRES = re.compile(r"[a-z/]+(:[a-z0-9]+)?=[0-9]{1,5}[A-Z]?")
EPOCH = re.compile(r"[0-9]{1,10}")
YEAR_2000, YEAR_2200 = 946_684_800, 7_258_118_400
MOST_TEXT = 10_000
MOST_OF_A_LINE = 1 << 20
SIGNED_64_BIT = range(-(1 << 63), 1 << 63)


@dataclass(frozen=True)
class Said:
    """A row as the reader gave it: where it begins, its fate, and a bad one's text or a record's values."""

    line: int
    fate: str  # "record", "bad" or "ignored"
    text: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """All that a reader said of a file; `counts`: read, records, bad, ignored."""

    said: Sequence[Said]
    counts: tuple[int, int, int, int]
    fields: tuple[str, ...]
    delimiter: str


class Unfit(Exception):
    """A text that is no value of its column."""


@dataclass(frozen=True)
class Account:
    """One file and the answer about it. `widths`: how long a text the database's columns hold."""

    data: bytes
    answer: Answer
    zone: ZoneInfo
    cluster: str
    widths: Mapping[str, int]

    def complaints(self) -> Iterator[str]:
        """What is wrong with the answer, a sentence each."""
        lines = lines_of(self.data)
        said, fates = self.answer.said, [row.fate for row in self.answer.said]
        counted = (len(said), *(fates.count(fate) for fate in ("record", "bad", "ignored")))
        if self.answer.counts != counted:
            yield f"counts {self.answer.counts} are not the {counted} rows"
        if self.answer.delimiter.join(self.answer.fields) != lines[0]:
            yield "the fields and the delimiter are not those of the first line"
        starts = [row.line for row in said]
        if starts != sorted(set(starts)) or (starts[:1] or [2]) != [2] or (len(lines) > 1 and not starts):
            yield f"rows begin at {starts} of {len(lines)} lines"
            return
        if not said:
            return
        for row, after in zip(said, [*starts[1:], len(lines) + 1], strict=True):
            if row.line > len(lines):
                yield f"line {row.line} is not in the file"
                continue
            own = lines[row.line - 1 : after - 1]
            try:
                wrong = {"record": self._record, "bad": self._bad, "ignored": self._ignored}[row.fate](row, own)
            except Unfit as unfit:
                wrong = f"holds what is no value: {unfit}"
            if wrong:
                yield f"line {row.line}, {row.fate}: {wrong}"
        yield from self._swallowed(lines)

    def _swallowed(self, lines: list[str]) -> Iterator[str]:
        """Lines that are whole records by themselves and did not become one."""
        starts = [row.line for row in self.answer.said]
        for start, after in zip(starts, [*starts[1:], len(lines) + 1], strict=True):
            own = "\n".join(lines[start - 1 : after - 1])  # a header, too, may have been broken over two lines
            if own != lines[0] and all(name in own for name in NEEDED):
                return  # the header of another export: nothing behind it may be read by our columns
        records = {row.line for row in self.answer.said if row.fate == "record"}
        whole = lines if self.data.endswith(b"\n") else lines[:-1]
        for number, line in enumerate(whole[1:], 2):
            if number not in records and self._surely_good(line):
                yield f"line {number} is a record and did not become one"

    def _parts(self, text: str) -> dict[str, str]:
        """The columns of a record; those right of free text only when no text can hold the delimiter."""
        fields, delimiter = self.answer.fields, self.answer.delimiter
        free = next((n for n, name in enumerate(fields) if name in FREE), len(fields))
        exact = free == len(fields) or is_strong(delimiter)
        parts = text.split(delimiter) if exact else text.split(delimiter, free)
        if len(parts) != (len(fields) if exact else free + 1):
            raise Unfit(f"{len(parts)} columns")
        columns = dict(zip(fields[len(parts) - 1 :: -1], parts[::-1], strict=True))  # of a field named twice the first
        if not exact and fields[free:] != ("JobName",):
            columns["JobName"] = columns.pop(fields[free]) if "JobName" in fields else ""
        return columns

    def _record(self, row: Said, own: list[str]) -> str:
        """What of a record is not what its lines say, or does not fit the database."""
        if any(len(line) > MOST_OF_A_LINE // 4 for line in own):
            return ""  # only the front of such a line is held
        columns, values = self._parts("\n".join(own)), row.values
        submit, start, end = (self._instant(columns[name]) for name in ("Submit", "Start", "End"))
        state = columns["State"].split()[0].upper()
        told = {
            "job_id_raw": number(columns["JobIDRaw"]),
            "db_index": columns.get("DBIndex", "").lstrip("0") or None,
            "account": columns["Account"],
            "partition": columns["Partition"],
            "state": state,
            "submit": submit,
            "start": start,
            "end": end,
            "alloc_tres": columns["AllocTRES"],
            "gpus": sum(parts_of(columns["AllocTRES"]).values()),
            "finished": end is not None and state not in GOING_ON,
        }
        wrong = [f"{name} is {values[name]!r}, not {value!r}" for name, value in told.items() if values[name] != value]
        for name, column in (("user", "User"), ("job_id", "JobID"), ("qos", "QOS"), ("exit_code", "ExitCode")):
            if not is_front(values[name], columns.get(column, "")):
                wrong.append(f"{name} is {values[name]!r}")
        if not is_front(values["node_list"], columns.get("NodeList", "")):
            wrong.append("node_list")
        name = columns.get("JobName", "").rstrip("\n")
        is_one_of_several = "JobName" in self.answer.fields and "JobName" not in self._exact_columns()
        if storable(values["job_name"].removesuffix("…")) not in storable(name) or not (
            is_one_of_several or is_front(values["job_name"], name)
        ):
            wrong.append(f"job_name is {values['job_name']!r}")
        if columns.get("Cluster", self.cluster) != self.cluster:
            wrong.append("it is another cluster's")
        return "; ".join([*wrong, *self._does_not_fit(values)])

    def _exact_columns(self) -> tuple[str, ...]:
        """The columns that stand alone: all of them, or with a weak delimiter those up to the first free text."""
        fields = self.answer.fields
        if is_strong(self.answer.delimiter):
            return fields
        free = next((n for n, name in enumerate(fields) if name in FREE), len(fields))
        return fields[: free + 1] if fields[free:] == ("JobName",) else fields[:free]

    def _does_not_fit(self, values: Mapping[str, Any]) -> Iterator[str]:
        for name, value in values.items():
            if isinstance(value, int) and value not in SIGNED_64_BIT:
                yield f"{name} has more than 64 bits"
            if isinstance(value, str):
                if len(value) > self.widths.get(name, MOST_TEXT):
                    yield f"{name} has {len(value)} characters"
                if storable(value) != value:
                    yield f"{name} cannot be stored"
        for name in ("submit", "eligible", "start", "end"):
            if values[name] is not None and not YEAR_2000 <= values[name] < YEAR_2200:
                yield f"{name} is out of bounds"
        if not 0 <= values["gpus"] <= 1_000_000:
            yield f"{values['gpus']} GPUs"

    def _bad(self, row: Said, own: list[str]) -> str:
        if any(len(line) > MOST_OF_A_LINE // 4 for line in own):
            return "" if storable("\n".join(own)).startswith(row.text[:1_000]) else "another text"
        return "" if row.text == storable("\n".join(own)[:MOST_TEXT]) else f"{row.text!r:.200} is not {own!r:.200}"

    def _ignored(self, row: Said, own: list[str]) -> str:
        text = "\n".join(own)
        if not text or text.removeprefix("\ufeff").rstrip("\n") == self.answer.delimiter.join(self.answer.fields):
            return ""
        columns = self._parts(text)
        is_step = "." in columns["JobIDRaw"] or "." in columns.get("JobID", "")
        return "" if is_step else f"{text!r:.200} is neither blank nor a header nor a step"

    def _surely_good(self, line: str) -> bool:
        """Whether a line is a record in every respect that could matter."""
        if line.count(self.answer.delimiter) != len(self.answer.fields) - 1 or storable(line) != line:
            return False
        try:
            columns = self._parts(line)
            number(columns["JobIDRaw"])
            submit, start, end = (self._instant(columns[name]) for name in ("Submit", "Start", "End"))
        except Unfit:
            return False
        index = columns.get("DBIndex", "1")
        return (
            submit is not None
            and (start is None or end is None or end >= start)
            and "." not in columns.get("JobID", "")
            and (not index or re.fullmatch("[0-9]{1,18}", index) is not None)
            and columns.get("Cluster", self.cluster) == self.cluster
            and all(re.fullmatch("[a-z0-9_-]{1,40}", columns[name]) for name in ("Account", "Partition"))
            and len(columns.get("User", "")) <= 40
            and re.fullmatch("[A-Z_]{1,20}( by [0-9]{1,9})?", columns["State"]) is not None
            and is_plain_tres(columns["AllocTRES"])
        )

    def _instant(self, text: str) -> int | None:
        if text in {"", "Unknown", "None"}:
            return None
        if EPOCH.fullmatch(text):
            instant = int(text)
        else:
            try:
                moment = datetime.fromisoformat(text)
                instant = int((moment if moment.tzinfo else moment.replace(tzinfo=self.zone)).timestamp())
            except (ValueError, OverflowError) as error:
                raise Unfit(text) from error
        if not YEAR_2000 <= instant < YEAR_2200:
            raise Unfit(text)
        return instant


def lines_of(data: bytes) -> list[str]:
    """The lines of a file at its newlines, without those; a byte order mark and Windows line ends are taken off."""
    lines = data.removeprefix(b"\xef\xbb\xbf").decode(errors="surrogateescape").split("\n")
    if lines[-1] == "" and len(lines) > 1:
        lines.pop()
    return [line.removesuffix("\r") for line in lines] if lines[0].endswith("\r") else lines


def is_strong(delimiter: str) -> bool:
    """Whether nobody can type it into a name beforehand: 16 characters or more, 6 different ones, no repetition."""
    length = len(delimiter)
    repeats = any(delimiter == (delimiter[:n] * length)[:length] for n in range(1, length // 2 + 1) if length % n == 0)
    return length >= 16 and len(set(delimiter)) >= 6 and not repeats


def number(text: str) -> int:
    if re.fullmatch("[1-9][0-9]{0,17}", text) is None:
        raise Unfit(text[:50])
    return int(text)


def parts_of(tres: str) -> dict[str, int]:
    """GPUs by their kind; what no type explains, and untyped ones, under an empty name."""
    found = re.findall(r"(?:^|,)gres/gpu(:[^=,]*)?=([0-9]+)(?=,|$)", tres)
    typed = {kind: int(gpus) for kind, gpus in found if kind}
    total = next((int(gpus) for kind, gpus in found if not kind), sum(typed.values()))
    return {kind: gpus for kind, gpus in {**typed, "": total - sum(typed.values())}.items() if gpus}


def is_plain_tres(text: str) -> bool:
    items = text.split(",") if text else []
    keys = [item.partition("=")[0] for item in items]
    if len(set(keys)) != len(keys) or not all(PLAIN_TRES.fullmatch(item) for item in items):
        return False
    gpus = [item.partition("=")[2] for item in items if item.startswith("gres/gpu")]
    return all(each.isdigit() for each in gpus) and all(each > 0 for each in parts_of(text).values())


def storable(text: str) -> str:
    """Text that a database holds: NUL as its picture, half characters and damaged bytes as the replacement."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text.replace("\0", "\u2400"))


def is_front(value: str, text: str) -> bool:
    """Whether a value is the text made storable, or the front of it and an ellipsis."""
    whole = storable(text)
    return value == whole or (value.endswith("…") and len(value) < len(whole) and whole.startswith(value[:-1]))
