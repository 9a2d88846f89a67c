"""What one job run costs."""

import re
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocations.charging import billable_span, gpu_parts, split_by_day

HONG_KONG = ZoneInfo("Asia/Hong_Kong")
# clocks that change at two, at midnight, by half an hour, and a day that never was
ZONES = [
    ZoneInfo(name)
    for name in ("Asia/Hong_Kong", "Europe/London", "America/Havana", "Australia/Lord_Howe", "Pacific/Apia", "UTC")
]
NOON = int(datetime(2026, 3, 4, 12, tzinfo=HONG_KONG).timestamp())


@pytest.mark.parametrize(
    ("submit", "start", "end", "pending", "span"),
    [
        (100, 200, 500, False, (200, 500)),
        (100, 200, None, False, (200, 900)),  # running: up to the export
        (300, 200, 500, False, (300, 500)),  # resized: Start is the first start
        (100, None, None, False, None),
        (100, None, 500, False, None),  # died waiting
        (100, 500, 500, False, None),  # cancelled before it began
        (100, 200, None, True, None),
        (100, 950, None, False, None),  # starts after the export
        (600, 200, 500, False, None),
    ],
)
def test_billable_span_runs_from_the_later_of_start_and_submit(
    submit: int, start: int | None, end: int | None, pending: bool, span: tuple[int, int] | None
) -> None:
    assert billable_span(submit=submit, start=start, end=end, as_of=900, pending=pending) == span


def test_split_by_day_cuts_at_midnight_of_the_zone() -> None:
    assert split_by_day(NOON, NOON + 36 * 3600, HONG_KONG) == [
        (date(2026, 3, 4), 12 * 3600),
        (date(2026, 3, 5), 24 * 3600),
    ]
    assert split_by_day(NOON, NOON, HONG_KONG) == []


def test_split_by_day_gives_days_their_real_length_when_clocks_change() -> None:
    london = ZoneInfo("Europe/London")
    begin = int(datetime(2026, 3, 28, tzinfo=london).timestamp())
    assert split_by_day(begin, begin + 71 * 3600, london) == [
        (date(2026, 3, 28), 24 * 3600),
        (date(2026, 3, 29), 23 * 3600),
        (date(2026, 3, 30), 24 * 3600),
    ]


@settings(deadline=None)
@given(
    begin=st.integers(min_value=946_684_800, max_value=4_102_444_800),
    length=st.integers(min_value=1, max_value=4 * 86_400),
    zone=st.sampled_from(ZONES),
)
def test_split_by_day_loses_no_second_and_dates_each_rightly(begin: int, length: int, zone: ZoneInfo) -> None:
    shares = split_by_day(begin, begin + length, zone)
    assert sum(seconds for _day, seconds in shares) == length
    assert all(earlier[0] < later[0] for earlier, later in pairwise(shares))
    at = begin
    for day, seconds in shares:
        for instant in (at, at + seconds // 2, at + seconds - 1):
            local = datetime.fromtimestamp(instant, UTC).astimezone(zone)
            assert local.date() == day
        at += seconds


def test_split_by_day_skips_the_day_that_samoa_never_had() -> None:
    apia = ZoneInfo("Pacific/Apia")
    begin = int(datetime(2011, 12, 29, 12, tzinfo=apia).timestamp())
    assert split_by_day(begin, begin + 86_400, apia) == [
        (date(2011, 12, 29), 43_200),
        (date(2011, 12, 29) + timedelta(days=2), 43_200),
    ]


@pytest.mark.parametrize(
    ("tres", "parts"),
    [
        ("", ()),
        ("billing=8,cpu=8,mem=64G,node=1", ()),
        ("billing=1,gres/gpu:h800=8,gres/gpu=8,mem=1G,node=1", (("gres/gpu:h800", 8),)),
        ("gres/gpu=8", (("", 8),)),
        ("gres/gpu:h800=8", (("gres/gpu:h800", 8),)),
        ("gres/gpu:a=2,gres/gpu:b=3,gres/gpu=6", (("gres/gpu:a", 2), ("gres/gpu:b", 3), ("", 1))),
        ("gres/gpu:a=0,gres/gpu=0", ()),
        ("gres/gpumem=5,gres/gpuutil=7,gres/nvme=1", ()),
    ],
)
def test_gpu_parts_never_adds_the_typed_ones_to_the_total(tres: str, parts: tuple[tuple[str, int], ...]) -> None:
    assert gpu_parts(tres) == parts


@pytest.mark.parametrize(
    ("tres", "sentence"),
    [
        ("gres/gpu=1.5", "The number of GPUs is not a plain whole number."),
        ("gres/gpu=1K", "The number of GPUs is not a plain whole number."),
        ("gres/gpu=", "The number of GPUs is not a plain whole number."),
        ("gres/gpu=١", "The number of GPUs is not a plain whole number."),
        ("gres/gpu=-5", "The number of GPUs is negative."),
        ("gres/gpu=99999999999999999999", "The number of GPUs is larger than any cluster's."),
        ("gres/gpu:a=1000000,gres/gpu:b=1", "The number of GPUs is larger than any cluster's."),
        ("gres/gpu:h800=8,gres/gpu=4", "The GPUs by type are more than the total."),
        ("gres/gpu=4,gres/gpu=4", "The same kind of GPU is counted twice."),
        ("gres/gpu:=4", "A GPU type is announced but not named."),
    ],
)
def test_gpu_parts_says_what_contradicts_itself(tres: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)) as refusal:
        gpu_parts(tres)
    assert str(refusal.value) == sentence
