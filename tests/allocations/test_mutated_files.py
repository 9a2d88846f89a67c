"""Damaged files: the reader never fails, and every line belongs to exactly one row, which says what its lines say.

`mutations.py` damages valid exports, `line_accounts.py` judges the answer anew from the bytes. Beside the proof stand
readers that are broken on purpose; each must be caught.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from io import BytesIO

import pytest

from allocations.models import JobRun
from allocations.slurm.sacct import Export, Record, Row, UnreadableExport, open_export
from tests.allocations.line_accounts import FREE, Account, Answer, Said, is_strong
from tests.allocations.mutations import HONG_KONG, Base, Mutant, mutant, valid

Reader = Callable[[bytes, str], Answer | None]
COLUMNS = {"user": "user_name", "job_id": "job_id"} | {
    name: name for name in ("db_index", "account", "partition", "qos", "state", "exit_code")
}
WIDTHS = {name: int(vars(JobRun._meta.get_field(column))["max_length"]) for name, column in COLUMNS.items()}
FATES = {"Record": "record", "BadRecord": "bad", "Ignored": "ignored"}


def said_by(row: Row) -> Said:
    fate = FATES[type(row).__name__]
    if isinstance(row, Record):
        return Said(row.line, fate, values=row._asdict())
    return Said(row.line, fate, text=getattr(row, "text", ""))


def answer_of(export: Export) -> Answer:
    said = [said_by(row) for row in export]
    counts = (export.read, export.records, export.bad, export.ignored)
    return Answer(said, counts, export.fields, export.delimiter)


def answered(data: bytes, cluster: str) -> Answer | None:
    """What the reader says of a file; None when it refuses the file as a whole."""
    try:
        return answer_of(open_export(BytesIO(data), zone=HONG_KONG, cluster=cluster))
    except UnreadableExport:
        return None


def complaints(made: Mutant, answer: Answer | None, plain: Answer) -> Iterator[str]:
    """What is wrong with the answer about a damaged file; `plain` is the answer about the file before."""
    if answer is None:
        if made.data.startswith(made.base.header) and made.data[len(made.base.header) :].strip():
            yield "a file with a good header was refused"
        return
    yield from Account(made.data, answer, HONG_KONG, made.base.cluster, WIDTHS).complaints()
    if made.only is not None and is_strong(made.base.delimiter):
        yield from not_left_alone(made, answer, plain)


def not_left_alone(made: Mutant, answer: Answer, plain: Answer) -> Iterator[str]:
    """Rows of other records that changed with the one that was touched."""
    assert made.only is not None
    if sum(name in FREE for name in made.base.fields) > 1:
        yield from not_left_alone_among_texts(made, answer, plain)
        return
    before, after = plain.said[: made.only], plain.said[made.only + 1 :]
    longer = made.data.count(b"\n") - made.base.data.count(b"\n")
    moved = [replace(row, line=row.line + longer, values=without_line(row)) for row in after]
    got_before, got_after = list(answer.said[: len(before)]), answer.said[len(answer.said) - len(after) :]
    lost = replace(made.base, runs=made.base.runs[made.only :]).data  # from the touched record on
    rest = made.data[len(made.base.data) - len(lost) + len(replace(made.base, runs=()).data) :]
    without_delimiter = made.base.delimiter.encode() not in rest.split(b"\n", 1)[0]
    if before and without_delimiter:  # such a line cannot be told from one of the name before it
        text = {"job_name", "digest", "line"}
        same = {name: value for name, value in before[-1].values.items() if name not in text}
        kept = {name: value for name, value in got_before[-1].values.items() if name not in text}
        if same != kept:
            yield f"the record before says {kept}, not {same}"
        before, got_before = before[:-1], got_before[:-1]
    if list(before) != got_before:
        yield f"the records before changed: {before} {got_before}"
    if moved != [replace(row, values=without_line(row)) for row in got_after]:
        yield "the records behind changed"


def not_left_alone_among_texts(made: Mutant, answer: Answer, plain: Answer) -> Iterator[str]:
    """The same where several columns are texts: a broken line may then seem to go on in the next one's.

    Its record is put aside with it, for people to see; but none may come out other than it was.
    """
    assert made.only is not None
    touched = plain.said[made.only].line
    longer = made.data.count(b"\n") - made.base.data.count(b"\n")
    lines = range(touched, touched + made.base.records[made.only].count(b"\n") + longer + 1)
    told = [without_text(row) for row in plain.said]
    for row in answer.said:
        if row.fate == "record" and row.line not in lines and without_text(row) not in told:
            yield f"line {row.line} is another record than it was"
    kept = sum(without_text(row) in told for row in answer.said if row.fate == "record")
    if kept < len(plain.said) - 2:
        yield f"only {kept} records of {len(plain.said)} are as they were"


def without_text(row: Said) -> dict[str, object]:
    return {name: value for name, value in row.values.items() if name not in {"line", "job_name", "digest"}}


def without_line(row: Said) -> dict[str, object]:
    return {name: value for name, value in row.values.items() if name != "line"}


def plain_answer(base: Base) -> Answer | None:
    """The answer about the undamaged file: one record for each. None when a name imitates records, as it may there."""
    plain = answered(base.data, base.cluster)
    assert plain is not None
    if [row.fate for row in plain.said] != ["record"] * len(base.runs):
        assert not is_strong(base.delimiter)
        return None
    return plain


def first_complaint(seed: str, *, files: int, reader: Reader = answered) -> str | None:
    """Damage so many files and read them; the first complaint with the file, or None."""
    chance = random.Random(seed)
    made = 0
    while made < files:
        base = valid(chance)
        plain = plain_answer(base)
        if plain is None:
            continue
        for _ in range(8):
            made += 1
            each = mutant(chance, base)
            for complaint in complaints(each, reader(each.data, base.cluster), plain):
                return f"{complaint} ({each.told}; file {made} of seed {seed}: {each.data!r:.6000})"
    return None


@pytest.fixture
def seed(pytestconfig: pytest.Config) -> str:
    """The seed of this run's property tests."""
    return str(pytestconfig.getoption("hypothesis_seed"))


@pytest.mark.parametrize(
    ("part", "files"),
    [(0, 2_000), (1, 2_000), *(pytest.param(n, 10_000, marks=pytest.mark.hard) for n in range(2, 12))],
)
def test_every_line_of_a_damaged_file_belongs_to_one_row(seed: str, part: int, files: int) -> None:
    assert first_complaint(f"{seed}-{part}", files=files) is None


# ---------------------------------------------------------------- readers that are broken on purpose


def counted(answer: Answer, said: Sequence[Said]) -> Answer:
    """The answer with other rows, which it counts as if they were all."""
    fates = [row.fate for row in said]
    counts = (len(said), fates.count("record"), fates.count("bad"), fates.count("ignored"))
    return replace(answer, said=said, counts=counts)


def drops_bad_lines(data: bytes, cluster: str) -> Answer | None:
    answer = answered(data, cluster)
    return answer and counted(answer, [row for row in answer.said if row.fate != "bad"])


def gives_up_at_a_bad_line(data: bytes, cluster: str) -> Answer | None:
    answer = answered(data, cluster)
    bad = [place for place, row in enumerate(answer.said) if row.fate == "bad"] if answer else []
    return counted(answer, answer.said[: bad[0]]) if answer and bad else answer


def counts_bad_lines_as_nothing(data: bytes, cluster: str) -> Answer | None:
    answer = answered(data, cluster)
    return answer and replace(answer, counts=(answer.counts[1] + answer.counts[3], *answer.counts[1:]))


def takes_any_line_end(data: bytes, cluster: str) -> Answer | None:
    return answered(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n"), cluster)


def believes_the_line_before(data: bytes, cluster: str) -> Answer | None:
    """After a bad line the account is that of the record before it."""
    answer = answered(data, cluster)
    if answer is None:
        return None
    said = list(answer.said)
    for place in range(2, len(said)):
        before, bad, row = said[place - 2 : place + 1]
        if (before.fate, bad.fate, row.fate) == ("record", "bad", "record"):
            said[place] = replace(row, values={**row.values, "account": before.values["account"]})
    return replace(answer, said=said)


def keeps_long_texts(data: bytes, cluster: str) -> Answer | None:
    """What was shortened is filled up again."""
    answer = answered(data, cluster)
    if answer is None:
        return None
    said = [
        replace(row, values={**row.values, "exit_code": row.values["exit_code"].replace("…", "x" * 9)})
        if row.fate == "record"
        else row
        for row in answer.said
    ]
    return replace(answer, said=said)


@pytest.mark.parametrize(
    "reader",
    [
        drops_bad_lines,
        gives_up_at_a_bad_line,
        counts_bad_lines_as_nothing,
        takes_any_line_end,
        believes_the_line_before,
        keeps_long_texts,
    ],
)
def test_broken_reader_is_caught(seed: str, reader: Reader) -> None:
    assert first_complaint(f"{seed}-0", files=8_000, reader=reader) is not None
