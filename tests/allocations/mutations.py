"""Valid exports, and what may become of one on its way: damaged at random, again and again.

The valid ones are spelled from what a real Slurm printed and from invented histories, in any order of the fields and
with any delimiter. Damage is either confined to one record, and then says to which, or comes over the whole file.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from allocations.slurm.history import FIELDS, AccountPlan, make_history

CAPTURED = Path(__file__).resolve().parent.parent / "data" / "slurm"
HONG_KONG = ZoneInfo("Asia/Hong_Kong")
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
FRONT = ("JobIDRaw", "Account", "State", "Submit", "Start", "End", "AllocTRES", "Partition", "JobID", "Cluster")
"""What stands left of free text where the delimiter can be guessed."""


@dataclass(frozen=True)
class Base:
    """A valid export: its fields, and the cells of each of its records."""

    fields: tuple[str, ...]
    runs: tuple[tuple[str, ...], ...]
    cluster: str
    delimiter: str = "|"
    newline: str = "\n"

    @property
    def header(self) -> bytes:
        return (self.delimiter.join(self.fields) + self.newline).encode()

    @property
    def records(self) -> list[bytes]:
        """Each record without the newline behind it."""
        return [self.delimiter.join(run).replace("\n", self.newline).encode() for run in self.runs]

    @property
    def data(self) -> bytes:
        newline = self.newline.encode()
        return self.header + b"".join(record + newline for record in self.records)


@dataclass(frozen=True)
class Mutant:
    """A damaged export. `only`: the one record that was touched; None when it may be any, or a delimiter came in."""

    base: Base
    data: bytes
    told: str
    only: int | None = None


@cache
def sources() -> tuple[Base, ...]:
    """What a real Slurm said, in its formats, and invented histories in both kinds of time."""
    real = [
        parted((CAPTURED / name).read_bytes().decode(), delimiter, cluster="hgxlab")
        for name, delimiter in (("sacct_X_dup.txt", "|"), ("sacct_X_delim.txt", "\x1f"), ("sacct_X_epoch.txt", "|"))
    ]
    plans = [
        AccountPlan(
            account=account,
            users=("amy", "ben"),
            partition="batch",
            gpu_type=gpu_type,
            gpu_hours=900,
            first_on=date(2026, 1, 1),
            last_on=date(2026, 12, 31),
        )
        for account, gpu_type in (("lab", "h800"), ("clinic", ""))
    ]
    begin, end = datetime(2026, 1, 1, tzinfo=HONG_KONG), datetime(2026, 2, 1, 10, 30, tzinfo=HONG_KONG)
    invented = []
    for seed in (1, 2):
        made = make_history(
            seed=seed,
            runs=300,
            start=begin,
            end=end,
            cluster="hgx",
            zone=HONG_KONG,
            plans=plans,
            time_format="epoch" if seed == 1 else "iso",
        )
        invented.append(parted(made.text.decode(), made.delimiter, cluster="hgx"))
        assert invented[-1].fields == FIELDS
    return (*real, *invented)


def parted(text: str, delimiter: str, *, cluster: str) -> Base:
    """A file whose free text stands last, as fields and cells: a line with too few delimiters goes on with a name."""
    header, *lines = text.removesuffix("\n").split("\n")
    fields = tuple(header.split(delimiter))
    records: list[str] = []
    for line in lines:
        if line.count(delimiter) >= len(fields) - 1:
            records.append(line)
        else:
            records[-1] += "\n" + line
    return Base(fields, tuple(tuple(record.split(delimiter, len(fields) - 1)) for record in records), cluster)


def valid(chance: random.Random, *, most: int = 9) -> Base:
    """A few records of one source, spelled anew: other fields and orders, any delimiter, some with carriage returns."""
    source = chance.choice(sources())
    first = chance.randrange(len(source.runs) - 3)
    runs = source.runs[first : first + chance.randint(2, most)]
    delimiter = "".join(chance.choices(LETTERS, k=chance.randint(18, 24)))
    kind = chance.random()
    if kind < 0.15:
        delimiter = chance.choice(("|", "\x1f", "||", ";", "~#~"))
    fields = [name for name in source.fields if name in FRONT or chance.random() < 0.8]
    if "JobName" not in fields and chance.random() < 0.7:
        fields.append("JobName")
    if kind < 0.15:
        fields = sorted(fields, key=lambda name: name not in FRONT)
    elif kind < 0.6:
        chance.shuffle(fields)
        while fields[0] not in FRONT:  # a text at the front could not tell whose newline it holds
            chance.shuffle(fields)
    places = [source.fields.index(name) for name in fields]
    said = [tuple(run[place] for place in places) for run in runs]
    named = [name.replace("Reserved", "Planned") if chance.random() < 0.5 else name for name in fields]
    return Base(tuple(named), tuple(said), source.cluster, delimiter, "\r\n" if chance.random() < 0.05 else "\n")


# ---------------------------------------------------------------- damage within one record

ODD_BYTES = (
    *(b"\0", b"\xff", b"\xf0\x9f", b"\xed\xa0\x80", b"\r", b"\n", b"\r\n", b"\n\n", b"\xef\xbb\xbf", b"\t", b"\x0b"),
    *(
        b"\xe2\x80\xa8",
        b"\xc2\x85",
        b'"',
        b"'",
        b"\\",
        b"\x1a",
        b"\x1f",
        b"|",
        b"\n7|7|lab",
        b"\xe2\x80\xae",
        b"\0" * 300,
    ),
)
ODD_TEXTS = (
    *("", "None", "null", "NaN", "None assigned", "\u00a0", "\ufeff", "\u202e", "=1+1", "x" * 33, "x" * 65, "x" * 129),
    *("x" * 205, "漢" * 1001, "x" * 4001, "🚀" * 10_001, "x" * 70_000, "Ǆ" * 64, "ß" * 64, " 7", "7 "),
)
ODD_NUMBERS = (
    *(
        "0",
        "-1",
        "00",
        "7.batch",
        "1" * 18,
        "9" * 25,
        "18446744073709551616",
        "9223372036854775808",
        "1e5",
        "１２",
        "٣",
    ),
    *("0x10", "1_000", "+5", "UNLIMITED", "7" * 5_000),
)
ODD_TIMES = (
    *("Unknown", "None", "2026-13-45T99:00:00", "1999-12-31T23:59:59", "2400-01-01T00:00:00", "0001-01-01T00:00:00"),
    *("9999-12-31T23:59:59", "2026-03-04T10:00:00+25:00", "2026-03-04T10:00:00.5+08:00", "2026-W10-3", "2026-03-04"),
    *("2026-01-04 10:00:00", "2026-01-04T10:00:00Z", "1767225600", "17725896000", "0", "２０２６-01-04T10:00:00"),
)
ODD_TRES = (
    *("gres/gpu=99999999999999999999", "gres/gpu=1,gres/gpu=1", "gres/gpu:=1", "gres/gpu:h800=9,gres/gpu=8", ",,,=,"),
    *("gres/gpu=1.5", "gres/gpu=-8", "gres/gpu=١", "gres/gpu=8,", "gres/gpu:a=1000000", "gres/gpu", "gres/gpu=1000001"),
    *(",".join(f"gres/gpu:t{n}=1000000" for n in range(most)) for most in (2, 100, 200)),
)
ODD_STATES = (
    "CANCELLED by 0",
    "CANCELLED by " + "7" * 5_000,
    "PENDING",
    "RUNNING",
    "SUSPENDED",
    "completed",
    "\x0b",
    "X" * 65,
)
FITTING = {
    **dict.fromkeys(("JobIDRaw", "DBIndex", "TimelimitRaw", "JobID"), ODD_NUMBERS),
    **dict.fromkeys(("Submit", "Start", "End", "Eligible"), ODD_TIMES),
    "AllocTRES": ODD_TRES,
    "State": ODD_STATES,
}
"""Values that come near to what a column may hold; any text may stand in any column."""
ODD_VALUES = (*ODD_TEXTS, *ODD_NUMBERS, *ODD_TIMES, *ODD_TRES, *ODD_STATES)


def flipped(chance: random.Random, record: bytes, _base: Base) -> bytes:
    raw = bytearray(record)
    for _ in range(chance.randint(1, 3)):
        raw[chance.randrange(len(raw))] = chance.randrange(256)
    return bytes(raw)


def with_odd_bytes(chance: random.Random, record: bytes, _base: Base) -> bytes:
    at = chance.randrange(len(record) + 1)
    return record[:at] + chance.choice((chance.choice(ODD_BYTES), chance.randbytes(chance.randint(1, 9)))) + record[at:]


def without_a_piece(chance: random.Random, record: bytes, _base: Base) -> bytes:
    at = chance.randrange(len(record))
    return record[:at] + record[at + chance.randint(1, 40) :]


def cut_off(chance: random.Random, record: bytes, _base: Base) -> bytes:
    return record[: chance.randrange(len(record))]


def with_odd_values(chance: random.Random, record: bytes, base: Base) -> bytes:
    delimiter = base.delimiter.encode()
    cells = record.split(delimiter)
    for _ in range(chance.randint(1, 2)):
        place = chance.randrange(len(cells))
        if chance.random() < 0.6:
            place = base.fields.index(chance.choice([name for name in FITTING if name in base.fields])) % len(cells)
        fitting = FITTING.get(base.fields[place % len(base.fields)], ODD_TEXTS)
        cells[place] = chance.choice(fitting if chance.random() < 0.8 else ODD_VALUES).encode()
    return delimiter.join(cells)


def with_swapped_cells(chance: random.Random, record: bytes, base: Base) -> bytes:
    cells = record.split(base.delimiter.encode())
    one, other = chance.randrange(len(cells)), chance.randrange(len(cells))
    cells[one], cells[other] = cells[other], cells[one]
    return base.delimiter.encode().join(cells)


def with_joined_cells(chance: random.Random, record: bytes, base: Base) -> bytes:
    delimiter = base.delimiter.encode()
    if chance.random() < 0.5:
        return delimiter.join(record.split(delimiter)[: -chance.randint(1, 3)])
    return record.replace(delimiter, b"", chance.randint(1, 99))


def with_more_lines(chance: random.Random, record: bytes, _base: Base) -> bytes:
    return record + chance.choice((b"\n", b"\nmore", b"\r\nmore\n\nand more", b"\n" * 30, b"\nx" * 300))


Confined = Callable[[random.Random, bytes, Base], bytes]
CONFINED: tuple[Confined, ...] = (
    *(flipped, with_odd_bytes, without_a_piece, cut_off, with_odd_values, with_odd_values, with_swapped_cells),
    *(with_joined_cells, with_more_lines),
)


# ---------------------------------------------------------------- damage over the whole file


def lines_moved(chance: random.Random, base: Base, data: bytes) -> bytes:
    """Lines cut, doubled, swapped, joined, blank or in any order."""
    lines = data.split(b"\n")
    for _ in range(chance.randint(1, 3)):
        one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
        act = chance.randrange(6)
        if act == 0:
            lines.insert(other, lines[one])
        elif act == 1:
            lines[one], lines[other] = lines[other], lines[one]
        elif act == 2 and one + 1 < len(lines):
            lines[one : one + 2] = [lines[one] + lines[one + 1]]
        elif act == 3 and len(lines) > 2:
            del lines[one]
        elif act == 4:
            lines[one:one] = [b""] * chance.randint(1, 3)
        else:
            rest = lines[1:]
            chance.shuffle(rest)
            lines[1:] = rest
    return b"\n".join(lines)


def ended_anywhere(chance: random.Random, base: Base, data: bytes) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def with_a_header(chance: random.Random, base: Base, data: bytes) -> bytes:
    """A header of our own or of another export stands somewhere, perhaps with records behind it."""
    fields = list(base.fields)
    act = chance.randrange(4)
    if act:
        chance.shuffle(fields)
    delimiter = base.delimiter if act < 2 else "".join(chance.choices(LETTERS, k=20)) if act == 2 else "|"
    other = replace(base, fields=tuple(fields), runs=base.runs[: chance.randrange(3)], delimiter=delimiter)
    lines = data.split(b"\n")
    at = chance.randrange(len(lines) + 1)
    return b"\n".join((*lines[:at], other.data.removesuffix(b"\n"), *chance.choice(((), (b"",))), *lines[at:]))


def with_bytes_changed(chance: random.Random, base: Base, data: bytes) -> bytes:
    """Bytes anywhere, the header included."""
    raw = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(raw) + 1)
        raw[at : at + chance.randrange(4)] = chance.choice((b"", chance.choice(ODD_BYTES), chance.randbytes(3)))
    return bytes(raw)


def with_a_piece_elsewhere(chance: random.Random, base: Base, data: bytes) -> bytes:
    begin, at = chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)
    return data[:at] + data[begin : begin + chance.randint(1, 400)] + data[at:]


def with_delimiters(chance: random.Random, base: Base, data: bytes) -> bytes:
    delimiter = base.delimiter.encode()
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(data) + 1)
        data = data[:at] + delimiter * chance.choice((1, 1, 2, len(base.fields) - 1)) + data[at:]
    return data


def with_other_line_ends(chance: random.Random, base: Base, data: bytes) -> bytes:
    return data.replace(b"\n", chance.choice((b"\r\n", b"\r", b"\n\n", b"\r\r\n", b"\x00\n", b"\xe2\x80\xa8")))


def with_a_hole(chance: random.Random, base: Base, data: bytes) -> bytes:
    """Zeros where a machine that lost its power had not written yet."""
    at = chance.randrange(len(data) + 1)
    size = chance.randint(1, 5_000)
    return data[:at] + bytes(size) + data[at + size :]


def with_a_mark(chance: random.Random, base: Base, data: bytes) -> bytes:
    return b"\xef\xbb\xbf" * chance.randint(1, 2) + data


def in_other_letters(chance: random.Random, base: Base, data: bytes) -> bytes:
    return data.decode(errors="replace").encode(chance.choice(("utf-16", "utf-16-le", "utf-32")))


Whole = Callable[[random.Random, Base, bytes], bytes]
WHOLE: tuple[Whole, ...] = (
    *(lines_moved, lines_moved, ended_anywhere, ended_anywhere, with_a_header, with_bytes_changed, with_bytes_changed),
    *(with_a_piece_elsewhere, with_delimiters, with_other_line_ends, with_a_hole, with_a_mark, in_other_letters),
)


def mutant(chance: random.Random, base: Base) -> Mutant:
    """The export, damaged in one record or all over."""
    if chance.random() < 0.55:
        return confined(chance, base)
    data, told = base.data, []
    for act in chance.choices(WHOLE, k=chance.choice((1, 1, 1, 2, 3))):
        data = act(chance, base, data)
        told.append(act.__name__)
    return Mutant(base, data, " ".join(told))


def confined(chance: random.Random, base: Base) -> Mutant:
    """One record damaged; what was confined to it, it alone may tell of."""
    place, delimiter = chance.randrange(len(base.runs)), base.delimiter.encode()
    before = record = base.records[place]
    told = []
    for act in chance.choices(CONFINED, k=chance.choice((1, 1, 1, 2))):
        if record:
            record = act(chance, record, base)
            told.append(act.__name__)
    records = base.records
    records[place] = record
    newline = base.newline.encode()
    data = base.header + b"".join(each + newline for each in records)
    came_in = record.count(delimiter) > before.count(delimiter)
    return Mutant(base, data, " ".join(told), None if came_in else place)
