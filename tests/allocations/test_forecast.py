"""The forecast: pace, the day on which hours run out, what an even use would have used; by example and by property."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocations import forecast as module
from allocations.forecast import Forecast, Outlook, forecast, left_over, planned_by, run_out_on
from allocations.planned_use import Period

HOUR, DAY = 3600, 86_400
HONG_KONG = ZoneInfo("Asia/Hong_Kong")
NOON = datetime(2026, 6, 15, 12, tzinfo=HONG_KONG)
TODAY = NOON.date()
YEAR = Period(date(2026, 1, 1), date(2026, 12, 31))


def each_day(hours: int, *, days: int = 60, before: date = TODAY) -> dict[date, int]:
    """So many GPU-hours on each of the days before a day."""
    return {before - timedelta(days=ago): hours * HOUR for ago in range(1, days + 1)}


def foretold(
    *,
    hours: int,
    per_day: dict[date, int],
    period: Period = YEAR,
    as_of: datetime | None = NOON,
    today: date = TODAY,
    used: int | None = None,
) -> Forecast:
    used = sum(per_day.values()) if used is None else used
    return forecast(available=hours * HOUR, used=used, per_day=per_day, as_of=as_of, today=today, period=period)


# ---------------------------------------------------------------------------------------------- by example


def test_steady_use_runs_out_on_one_day() -> None:
    told = foretold(hours=100, per_day=each_day(10))
    assert told.short.per_day == told.long.per_day == Fraction(10 * HOUR)
    assert (told.outlook, told.earliest_on, told.latest_on) == (Outlook.RUNS_OUT, date(2026, 6, 25), date(2026, 6, 25))


def test_faster_and_slower_pace_make_a_range() -> None:
    told = foretold(hours=300, per_day=each_day(10) | each_day(30, days=7))
    assert told.short.per_day == 30 * HOUR
    assert told.long.per_day == Fraction((7 * 30 + 23 * 10) * HOUR, 30)
    assert (told.earliest_on, told.latest_on) == (date(2026, 6, 25), date(2026, 7, 5))
    assert (told.faster, told.slower) == (told.short, told.long)


def test_the_day_of_the_import_itself_is_no_full_day() -> None:
    assert foretold(hours=100, per_day=each_day(10) | {TODAY: 500 * HOUR}) == foretold(hours=100, per_day=each_day(10))


def test_hours_that_end_with_the_day_run_out_on_that_day() -> None:
    told = foretold(hours=5, per_day=each_day(10))  # noon, and half a day's use is left
    assert (told.earliest_on, told.latest_on) == (TODAY, TODAY)
    assert foretold(hours=6, per_day=each_day(10)).latest_on == TODAY + timedelta(days=1)


def test_old_books_count_from_where_they_end_and_never_name_a_day_that_has_passed() -> None:
    as_of = NOON - timedelta(days=4)
    use = each_day(10, before=as_of.date())
    assert foretold(hours=100, per_day=use, as_of=as_of).earliest_on == date(2026, 6, 21)
    assert foretold(hours=20, per_day=use, as_of=as_of).earliest_on == TODAY


def test_hours_that_outlast_the_period_tell_what_is_left_over() -> None:
    period = Period(date(2026, 1, 1), date(2026, 6, 24))
    told = foretold(hours=300, per_day=each_day(10) | each_day(20, days=7), period=period)
    long = Fraction((7 * 20 + 23 * 10) * HOUR, 30)
    assert (told.outlook, told.earliest_on, told.latest_on) == (Outlook.LASTS, None, None)
    assert told.left_over_least == 300 * HOUR - 19 * 10 * HOUR  # nine days and a half at 20 a day
    assert told.left_over_most == int(300 * HOUR - long * Fraction(19, 2))


def test_only_the_faster_pace_may_run_out() -> None:
    told = foretold(
        hours=300, per_day=each_day(1) | each_day(30, days=7), period=Period(YEAR.start_on, date(2026, 6, 26))
    )
    assert (told.outlook, told.earliest_on, told.latest_on) == (Outlook.MAY_RUN_OUT, date(2026, 6, 25), None)
    idle = foretold(hours=100, per_day={TODAY - timedelta(days=20): 300 * HOUR})
    assert (idle.outlook, idle.earliest_on, idle.latest_on) == (Outlook.MAY_RUN_OUT, date(2026, 6, 25), None)
    assert idle.left_over_most == 100 * HOUR


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"period": Period(date(2025, 1, 1), date(2026, 6, 14))}, Outlook.OVER),
        ({"period": Period(date(2026, 6, 16), date(2026, 12, 1))}, Outlook.NOT_BEGUN),
        ({"hours": 0}, Outlook.NOTHING_LEFT),
        ({"hours": -3}, Outlook.NOTHING_LEFT),
        ({"as_of": None}, Outlook.NO_BOOKS),
        ({"per_day": {}, "used": 0}, Outlook.NO_USAGE_YET),
        ({"per_day": {}, "used": 0, "period": Period(TODAY, date(2026, 12, 1))}, Outlook.NO_USAGE_YET),
        ({"per_day": {TODAY: HOUR}, "period": Period(TODAY, date(2026, 12, 1))}, Outlook.TOO_EARLY),
        ({"per_day": {date(2026, 3, 1): HOUR}}, Outlook.NO_RECENT_USAGE),
        ({"per_day": {TODAY: HOUR}}, Outlook.NO_RECENT_USAGE),
    ],
)
def test_what_cannot_be_foretold_is_said(changed: dict[str, object], told: Outlook) -> None:
    given_now: dict[str, object] = {"hours": 100, "per_day": each_day(10), **changed}
    result = foretold(**given_now)  # type: ignore[arg-type]
    assert (result.outlook, result.earliest_on, result.latest_on) == (told, None, None)


@pytest.mark.parametrize(("begun", "short", "long"), [(1, 1, 1), (4, 4, 4), (7, 7, 7), (18, 7, 18), (40, 7, 30)])
def test_a_young_allocation_counts_the_days_that_have_passed(begun: int, short: int, long: int) -> None:
    start = TODAY - timedelta(days=begun)
    told = foretold(hours=100, per_day=each_day(10, days=90), period=Period(start, date(2026, 12, 31)))
    assert (told.short.days, told.long.days) == (short, long)
    assert told.short.per_day == told.long.per_day == Fraction(10 * HOUR)


def test_even_use_is_planned_to_the_second() -> None:
    period = Period(date(2026, 6, 11), date(2026, 6, 20))  # ten days
    granted = 10 * DAY
    assert planned_by(datetime(2026, 6, 10, 23, tzinfo=UTC), granted=granted, period=period) == 0
    assert planned_by(datetime(2026, 6, 11, tzinfo=UTC), granted=granted, period=period) == 0
    assert planned_by(datetime(2026, 6, 15, 12, tzinfo=UTC), granted=granted, period=period) == 4 * DAY + DAY // 2
    assert planned_by(datetime(2026, 6, 21, tzinfo=UTC), granted=granted, period=period) == granted


# ---------------------------------------------------------------------------------------------- by property


@dataclass(frozen=True)
class Case:
    """An allocation in its period, somewhere in its life."""

    available: int
    per_day: dict[date, int]
    as_of: datetime
    today: date
    period: Period


@st.composite
def cases(draw: st.DrawFn) -> Case:
    begun, lag, rest = draw(st.integers(0, 90)), draw(st.integers(0, 40)), draw(st.integers(0, 400))
    as_of = NOON.replace(hour=draw(st.integers(0, 23)), minute=draw(st.integers(0, 59))) - timedelta(days=lag)
    amounts = draw(st.lists(st.integers(0, 10**7), max_size=45))
    return Case(
        available=draw(st.one_of(st.integers(1, 10**8), st.integers(1, 10**9))),
        per_day={as_of.date() - timedelta(days=ago): seconds for ago, seconds in enumerate(amounts)},
        as_of=as_of,
        today=TODAY,
        period=Period(TODAY - timedelta(days=begun), TODAY + timedelta(days=rest)),
    )


Forecasting = Callable[..., Forecast]


def told_by(case: Case, forecasting: Forecasting = forecast, **changed: object) -> Forecast:
    values: dict[str, object] = {
        "available": case.available,
        "used": sum(case.per_day.values()),
        "per_day": case.per_day,
        "as_of": case.as_of,
        "today": case.today,
        "period": case.period,
    }
    return forecasting(**values | changed)


def known(day: date | None) -> date:
    """A day that can be compared: beyond the period is later than any day in it."""
    return day or date.max


def check(case: Case, forecasting: Forecasting = forecast) -> None:
    """Everything that must hold of a forecast, whatever the allocation."""
    told = told_by(case, forecasting)
    lived = [
        seconds
        for day, seconds in case.per_day.items()
        if case.period.start_on <= day < case.as_of.date() and (case.as_of.date() - day).days <= 30
    ]
    for day in (told.earliest_on, told.latest_on):
        assert day is None or case.today <= day <= case.period.end_on
    assert known(told.earliest_on) <= known(told.latest_on)
    assert 0 <= told.left_over_least <= told.left_over_most <= case.available
    is_silent = told.outlook in {Outlook.NO_USAGE_YET, Outlook.NO_RECENT_USAGE, Outlook.TOO_EARLY}
    assert is_silent is (sum(lived) == 0)
    assert (told.outlook is Outlook.NO_USAGE_YET) is (sum(case.per_day.values()) == 0)
    if told.outlook is Outlook.RUNS_OUT:
        assert told.latest_on is not None
    more = told_by(case, forecasting, available=case.available * 2)
    assert known(more.earliest_on) >= known(told.earliest_on)
    assert known(more.latest_on) >= known(told.latest_on)
    doubled = {day: seconds * 2 for day, seconds in case.per_day.items()}
    faster = told_by(case, forecasting, per_day=doubled)
    assert known(faster.earliest_on) <= known(told.earliest_on)
    assert known(faster.latest_on) <= known(told.latest_on)
    assert faster.left_over_least <= told.left_over_least


@given(cases())
def test_every_forecast_keeps_its_word(case: Case) -> None:
    check(case)


@given(
    available=st.integers(0, 10**9),
    slow=st.fractions(0, 10**6),
    more=st.fractions(0, 10**6),
    ahead=st.integers(0, 500),
)
def test_a_faster_pace_never_runs_out_later(available: int, slow: Fraction, more: Fraction, ahead: int) -> None:
    end_on = TODAY + timedelta(days=ahead)
    slower, faster = (
        run_out_on(available=available, pace=pace, as_of=NOON, today=TODAY, end_on=end_on)
        for pace in (slow, slow + more)
    )
    assert known(faster) <= known(slower)
    assert left_over(available=available, pace=slow + more, as_of=NOON, end_on=end_on) <= left_over(
        available=available, pace=slow, as_of=NOON, end_on=end_on
    )


@given(available=st.integers(1, 10**9), pace=st.fractions(1, 10**8), ahead=st.integers(0, 500))
def test_it_runs_out_within_the_period_or_something_is_left_over(available: int, pace: Fraction, ahead: int) -> None:
    """The two are worked out apart, and agree."""
    end_on = TODAY + timedelta(days=ahead)
    day = run_out_on(available=available, pace=pace, as_of=NOON, today=TODAY, end_on=end_on)
    rest = available - pace * ((end_on - TODAY).days + Fraction(1, 2))
    assert (day is None) is (rest > 0)


def from_the_last_midnight(**given_now: object) -> Forecast:
    """Wrong: forgets how old the books are."""
    told = forecast(**given_now)  # type: ignore[arg-type]
    as_of = given_now["as_of"]
    assert isinstance(as_of, datetime)
    return Forecast(
        told.outlook, told.short, told.long, told.earliest_on and as_of.date(), told.latest_on, 0, told.left_over_most
    )


def slowest_first(**given_now: object) -> Forecast:
    """Wrong: takes the 7 days for the faster pace, whatever they were."""
    told = forecast(**given_now)  # type: ignore[arg-type]
    if told.earliest_on is None or told.short.per_day >= told.long.per_day:
        return told
    return Forecast(told.outlook, told.short, told.long, told.latest_on, told.earliest_on, 0, 0)


def more_is_less(**given_now: object) -> Forecast:
    """Wrong: what is left shortens the time instead of lengthening it."""
    available = given_now["available"]
    assert isinstance(available, int)
    return forecast(**given_now | {"available": max(10**9 - available, 1)})  # type: ignore[arg-type]


def silent_about_nothing(**given_now: object) -> Forecast:
    """Wrong: an allocation that nobody used yet lasts, and nobody is told why."""
    told = forecast(**given_now)  # type: ignore[arg-type]
    outlook = Outlook.LASTS if told.outlook is Outlook.NO_USAGE_YET else told.outlook
    return Forecast(outlook, told.short, told.long, told.earliest_on, told.latest_on)


def of_days(*hours_ago: int, hours: int, lag: int = 0) -> Case:
    """An allocation of so many GPU-hours in its year, with what was used yesterday, the day before, and so on."""
    as_of = NOON - timedelta(days=lag)
    per_day = {as_of.date() - timedelta(days=ago): used * HOUR for ago, used in enumerate(hours_ago, start=1)}
    return Case(available=hours * HOUR, per_day=per_day, as_of=as_of, today=TODAY, period=YEAR)


TELLING = [
    (from_the_last_midnight, of_days(*[10] * 30, hours=300, lag=3)),
    (slowest_first, of_days(*[1] * 7, *[20] * 23, hours=300)),
    (more_is_less, of_days(*[10] * 30, hours=300)),
    (silent_about_nothing, of_days(hours=300)),
]


@pytest.mark.parametrize(("wrong", "case"), TELLING)
def test_a_wrong_forecast_is_caught(wrong: Forecasting, case: Case) -> None:
    """The control: where each of these goes wrong, the properties notice; and they hold of the forecast itself."""
    check(case)
    with pytest.raises(AssertionError):
        check(case, wrong)


def test_forecast_asks_no_database() -> None:
    assert "django" not in vars(module)
