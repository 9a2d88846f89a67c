"""Exports of any size as streams of bytes, never held: usual ones, and the shapes that would fill a memory.

Each yields about `size` bytes in pieces, the header first.
"""

from collections.abc import Iterator
from itertools import count

from tests.allocations.exports import ORDER, RUN, STRONG, TEN_O_CLOCK

PIECE = 1 << 16
HEADER = (STRONG.join(ORDER) + "\n").encode()


def run(number: int, **changes: str) -> str:
    """One record of a job that ran for an hour; each begins a second after the one before, within a year."""
    begin = TEN_O_CLOCK + number % 20_000_000
    told = {
        "JobIDRaw": str(number),
        "JobID": str(number),
        "DBIndex": str(number),
        "Account": ("lab", "clinic", "nobody")[number % 3],
        "User": f"user{number % 500}",
        "Submit": str(begin),
        "Eligible": str(begin),
        "Start": str(begin + 5),
        "End": str(begin + 3605),
        "JobName": f"train-{number % 1000}",
    }
    return STRONG.join({**RUN, **told, **changes}[name] for name in ORDER)


def repeated(size: int, lines: Iterator[str]) -> Iterator[bytes]:
    """The header, and lines until the size is reached."""
    yield HEADER
    sent = len(HEADER)
    held: list[bytes] = []
    held_size = 0
    for line in lines:
        held.append(line.encode() + b"\n")
        held_size += len(held[-1])
        if held_size >= PIECE or sent + held_size >= size:
            yield b"".join(held)
            sent += held_size
            held, held_size = [], 0
        if sent >= size:
            return


def usual(size: int) -> Iterator[bytes]:
    return repeated(size, (run(number) for number in count(1)))


def every_value_long_and_new(size: int) -> Iterator[bytes]:
    """Nothing repeats: resources, states, names and nodes are as long as they may be, and each another one."""
    long = (
        run(
            number,
            AllocTRES=f"gres/gpu=8,license/{number}-{'x' * 3_900}=1",
            State=f"CANCELLED by {number}{'7' * 3_000}",
            JobName=f"{number}{'漢' * 990}",
            NodeList=f"hgx{number}{'n' * 900}",
            User=f"{number:0>128}",
            Account=f"{number:0>128}",
        )
        for number in count(1)
    )
    return repeated(size, long)


def one_line_without_end(size: int) -> Iterator[bytes]:
    yield HEADER
    yield (run(1) + "\n").encode()
    for _ in range(size // PIECE):
        yield b"x" * PIECE


def a_name_of_many_lines(size: int) -> Iterator[bytes]:
    yield HEADER
    yield (run(1) + "\n").encode()
    for _ in range(size // PIECE):
        yield (b"x" * 999 + b"\n") * (PIECE // 1000)
    yield (run(2) + "\n").encode()


def short_bad_lines(size: int) -> Iterator[bytes]:
    return repeated(size, (run(number, Submit="yesterday", JobName="") for number in count(1)))


def long_bad_lines(size: int) -> Iterator[bytes]:
    return repeated(size, (run(number, Submit="yesterday", JobName="漢" * 10_000) for number in count(1)))


def blank_lines(size: int) -> Iterator[bytes]:
    yield HEADER
    for _ in range(size // PIECE):
        yield b"\n" * PIECE


def no_line_at_all(size: int) -> Iterator[bytes]:
    """Not even the first line ends."""
    for _ in range(size // PIECE):
        yield b"x" * PIECE
