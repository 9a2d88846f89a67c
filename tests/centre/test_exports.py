"""CSV: what a spreadsheet, a script and an auditor are promised of every report."""

import csv
import io
import tracemalloc
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from centre.exports import (
    BadDay,
    Cell,
    Column,
    Kind,
    Parameters,
    Report,
    Row,
    csv_chunks,
    inert,
    read_days,
    written,
)

HOSTILE = [
    "=cmd|'/C calc'!A0",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "＝1+1",
    "＋1",
    "－1",
    "＠x",
    "\t=1",
    "\r=1",
    "\n=1",
    "  =1",
    "\u00a0=1",
    "\u3000=1",
    "\u202e=1",
    "\ufeff=1",
    "\u200b@x",
    "\x01=1",
    "\ttab",
]


def report_of(kinds: list[Kind], rows: Iterable[Row]) -> Report:
    columns = tuple(Column(f"c{n}", f"Column {n}", "", kind) for n, kind in enumerate(kinds))
    return Report(name="trial", title="Trial", description="", days="", columns=columns, rows=lambda _: rows)


def exported(kinds: list[Kind], rows: Iterable[Row]) -> bytes:
    return b"".join(csv_chunks(report_of(kinds, rows), Parameters()))


def as_typed(cell: str) -> str:
    """The text behind an inert cell: a reader takes one apostrophe away from what would otherwise be live."""
    return cell[1:] if cell.startswith("'") and inert(cell[1:]) != cell[1:] else cell


def test_csv_is_utf_8_with_mark_and_crlf_and_plain_values() -> None:
    rows: list[Row] = [
        (
            "大嶼, “語音”",
            "0012",
            "start_up",
            1_234_567,
            -7_200,
            148_752_018,
            300_000_050,
            7_050,
            date(2026, 1, 31),
            datetime(2026, 1, 31, 23, 30, tzinfo=timezone(timedelta(hours=8))),
        ),
        ('say "hi"\nthere', "=x", "", 0, 0, -18, -1, 0, date(2024, 2, 29), datetime(2026, 2, 1, tzinfo=UTC)),
        (None,) * 10,
    ]
    assert exported(list(Kind), rows) == (
        b"\xef\xbb\xbfc0,c1,c2,c3,c4,c5,c6,c7,c8,c9\r\n"
        + (
            '"大嶼, “語音”",0012,start_up,1234567,-7200,41320.01,3000000.50,70.50,2026-01-31,2026-01-31T15:30:00Z\r\n'
            '"say ""hi""\nthere",\'=x,,0,0,-0.01,-0.01,0.00,2024-02-29,2026-02-01T00:00:00Z\r\n'
            ",,,,,,,,,\r\n"
        ).encode()
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_text_that_a_spreadsheet_would_run_is_made_inert(text: str) -> None:
    assert inert(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "0012", "a=b", "harbour-voice", "粵語", "O'Hara", "'quoted'", "1-1", " spaced "])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert inert(text) == text


def test_nul_is_left_out_before_the_text_is_judged() -> None:
    assert inert("\0=1\0") == "'=1"


def test_negative_numbers_stay_numbers() -> None:
    assert [written(kind, -5) for kind in (Kind.COUNT, Kind.SECONDS, Kind.HOURS, Kind.MONEY)] == [
        "-5",
        "-5",
        "0.00",
        "-0.05",
    ]


@pytest.mark.parametrize("wrong", [1.5, "7", True])
def test_what_is_no_whole_number_stops_the_export(wrong: Cell) -> None:
    with pytest.raises(TypeError):
        exported([Kind.SECONDS], [(wrong,)])


TEXT = st.text(alphabet=st.one_of(st.sampled_from("'=+-@＝ \t\r\n\"\0,;\u202e"), st.characters(codec="utf-8")))


@given(st.lists(st.tuples(TEXT, TEXT), max_size=20))
def test_any_text_survives_the_way_through_a_csv(rows: list[tuple[str, str]]) -> None:
    text = exported([Kind.TEXT, Kind.TEXT], rows).decode("utf-8-sig")
    read = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert read[0] == ["c0", "c1"]
    assert [[as_typed(cell) for cell in row] for row in read[1:]] == [
        [cell.replace("\0", "") for cell in row] for row in rows
    ]
    assert not [cell for row in read for cell in row if cell.lstrip()[:1] in tuple("=+-@＝＋－＠")]


@given(st.integers(-(10**15), 10**15))
def test_gpu_hours_are_gpu_seconds_over_3600_half_up(seconds: int) -> None:
    exact = Decimal(abs(seconds)) / 3600
    rounded = exact.quantize(Decimal("0.01"), ROUND_HALF_UP)
    assert Decimal(written(Kind.HOURS, seconds)) == (-rounded if seconds < 0 else rounded)


@pytest.mark.parametrize(
    ("seconds", "hours"), [(17, "0.00"), (18, "0.01"), (-17, "0.00"), (-18, "-0.01"), (3600, "1.00")]
)
def test_gpu_hours_round_at_the_half(seconds: int, hours: str) -> None:
    assert written(Kind.HOURS, seconds) == hours


def test_rows_leave_before_the_last_one_is_asked_for() -> None:
    asked: list[int] = []

    def rows() -> Iterator[Row]:
        for number in range(100_000):
            asked.append(number)
            yield ("x" * 50, number)

    chunks = csv_chunks(report_of([Kind.TEXT, Kind.COUNT], rows()), Parameters())
    first = next(chunks)
    assert len(first) < 100_000
    assert len(asked) < 2_000
    assert first.endswith(b"\r\n")
    assert sum(chunk.count(b"\r\n") for chunk in [first, *chunks]) == 100_001


def test_memory_does_not_grow_with_the_rows() -> None:
    rows = (("a tenant" * 125, n, n * 3600) for n in range(10_000))
    report = report_of([Kind.TEXT, Kind.COUNT, Kind.HOURS], rows)
    tracemalloc.start()
    size = sum(len(chunk) for chunk in csv_chunks(report, Parameters()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 10_000_000
    assert peak < 1_000_000


def test_days_are_read_as_a_range_with_open_ends() -> None:
    assert read_days("2026-01-01", "2026-01-01") == Parameters(date(2026, 1, 1), date(2026, 1, 1))
    assert read_days("", None) == Parameters(None, None)


@pytest.mark.parametrize("text", ["2026-02-30", "20260131", "31/01/2026", "2026-1-1", "yesterday", "2026-W01-1"])
def test_what_is_no_day_is_named_in_the_refusal(text: str) -> None:
    with pytest.raises(BadDay, match="is not a day; write it as YYYY-MM-DD") as refusal:
        read_days(None, text)
    assert f"“{text}”" in str(refusal.value)


def test_a_range_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(BadDay, match="The last day, 2026-01-01, is before the first, 2026-01-02"):
        read_days("2026-01-02", "2026-01-01")


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        (Parameters(), "trial.csv"),
        (Parameters(date(2026, 1, 1), date(2026, 1, 31)), "trial_from-2026-01-01_to-2026-01-31.csv"),
        (Parameters(to_on=date(2026, 1, 31)), "trial_to-2026-01-31.csv"),
    ],
)
def test_a_download_is_named_after_the_report_and_its_days(parameters: Parameters, name: str) -> None:
    assert report_of([], []).file_name(parameters) == name
