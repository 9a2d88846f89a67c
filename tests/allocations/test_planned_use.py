"""Planned use in exact whole numbers: examples by hand, and what holds for any period and amount."""

from datetime import date, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocations.planned_use import (
    Period,
    beyond_need,
    check_day,
    is_under,
    planned_from,
    planned_through,
    still_to_use,
)

YEAR = Period(date(2026, 1, 1), date(2026, 12, 31))
PERIODS = st.builds(
    lambda start, days: Period(start, start + timedelta(days=days - 1)),
    st.dates(date(2020, 1, 1), date(2030, 1, 1)),
    st.integers(1, 1_500),
)
AMOUNTS = st.integers(0, 10**13)
DAYS = st.dates(date(2019, 6, 1), date(2035, 1, 1))


@pytest.mark.parametrize(
    ("day", "through", "still_to_come"),
    [
        (date(2025, 12, 31), 0, 1_000),
        (date(2026, 1, 1), 2, 1_000),  # 1000/365 = 2.74
        (date(2026, 7, 2), 501, 501),  # the 183rd day: 501.4; 183 days to come, itself included
        (date(2026, 12, 31), 1_000, 2),
        (date(2027, 1, 1), 1_000, 0),
    ],
)
def test_planned_use_is_the_share_of_days_rounded_down(day: date, through: int, still_to_come: int) -> None:
    assert planned_through(day, granted=1_000, period=YEAR) == through
    assert planned_from(day, granted=1_000, period=YEAR) == still_to_come


@pytest.mark.parametrize(
    ("days", "check_at_bp", "nth"),
    [(10, 5_000, 5), (11, 5_000, 6), (365, 5_000, 183), (1, 5_000, 1), (2, 5_000, 1), (10, 1, 1), (10, 9_999, 10)],
)
def test_check_day_is_the_first_by_whose_end_the_share_is_over(days: int, check_at_bp: int, nth: int) -> None:
    period = Period(date(2026, 3, 1), date(2026, 3, 1) + timedelta(days=days - 1))
    assert check_day(period, check_at_bp=check_at_bp) == date(2026, 3, 1) + timedelta(days=nth - 1)


@pytest.mark.parametrize(("used", "under"), [(199, True), (200, False), (201, False), (0, True)])
def test_under_is_strictly_less_than_the_share(used: int, under: bool) -> None:
    assert is_under(used=used, planned=500, under_bp=4_000) is under


def test_nothing_planned_is_never_under() -> None:
    assert is_under(used=0, planned=0, under_bp=10_000) is False


@pytest.mark.parametrize(("available", "taken"), [(900, 400), (501, 1), (500, 0), (499, 0), (-30, 0)])
def test_what_is_beyond_the_planned_remainder_is_taken(available: int, taken: int) -> None:
    assert beyond_need(available=available, remainder=500) == taken


@given(period=PERIODS, granted=AMOUNTS, day=DAYS)
def test_what_is_planned_before_and_after_a_midnight_is_the_grant_but_for_one_second(
    period: Period, granted: int, day: date
) -> None:
    before = planned_through(day - timedelta(days=1), granted=granted, period=period)
    after = planned_from(day, granted=granted, period=period)
    assert 0 <= before <= granted
    assert 0 <= after <= granted
    assert granted - before - after in {0, 1}


@given(period=PERIODS, granted=AMOUNTS, day=DAYS, later=st.integers(0, 400))
def test_planned_use_grows_and_the_remainder_shrinks(period: Period, granted: int, day: date, later: int) -> None:
    then = day + timedelta(days=later)
    assert planned_through(day, granted=granted, period=period) <= planned_through(then, granted=granted, period=period)
    assert planned_from(day, granted=granted, period=period) >= planned_from(then, granted=granted, period=period)


@given(period=PERIODS, check_at_bp=st.integers(1, 9_999))
def test_check_day_lies_in_the_period_and_is_the_first(period: Period, check_at_bp: int) -> None:
    day = check_day(period, check_at_bp=check_at_bp)
    assert period.start_on <= day <= period.end_on
    share = Fraction(check_at_bp, 10_000)
    assert Fraction((day - period.start_on).days + 1, period.days) >= share
    assert Fraction((day - period.start_on).days, period.days) < share


@given(available=st.integers(-(10**13), 10**13), remainder=AMOUNTS)
def test_taken_is_never_negative_nor_more_than_available(available: int, remainder: int) -> None:
    taken = beyond_need(available=available, remainder=remainder)
    assert 0 <= taken <= max(0, available)
    assert available - taken == min(available, remainder) or taken == 0


@given(used=AMOUNTS, planned=AMOUNTS, under_bp=st.integers(1, 10_000))
def test_what_is_still_to_use_is_just_enough(used: int, planned: int, under_bp: int) -> None:
    wanted = still_to_use(used=used, planned=planned, under_bp=under_bp)
    assert not is_under(used=used + wanted, planned=planned, under_bp=under_bp)
    assert wanted == 0 or is_under(used=used + wanted - 1, planned=planned, under_bp=under_bp)
    assert is_under(used=used, planned=planned, under_bp=under_bp) == (wanted > 0)
