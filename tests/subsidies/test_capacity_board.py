"""The capacity board's figures: hand-worked months, and the same sums worked out day by day, another way."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from allocations import commitments
from allocations.commitments import Month, Stretch, months_from, spread
from allocations.models import Allocation
from centre.facility import PoolService, Step
from centre.models import Cluster, GpuPool
from subsidies import applications, capacity_board
from subsidies.capacity_board import Asked, Load, PoolMonth, pool_board
from subsidies.life_cycle import State
from tests import make
from tests.subsidies import cases

NOW = datetime(2026, 6, 15, 4, 0, tzinfo=UTC)  # noon in Hong Kong
JUNE = Month(2026, 6)
HOUR = make.HOUR
DAYS = st.dates(min_value=date(2024, 1, 1), max_value=date(2028, 12, 31))


@st.composite
def stretches(draw: st.DrawFn) -> Stretch:
    start_on = draw(DAYS)
    return start_on, start_on + timedelta(days=draw(st.integers(0, 900))), draw(st.integers(0, 10**12))


def day_by_day(rows: Sequence[Stretch], months: Sequence[Month]) -> list[Fraction]:
    """The definition of a day's commitment, as `committed_per_pool` has it, for each day of each month."""
    sums = []
    for month in months:
        days = [month.first_on + timedelta(days=nth) for nth in range((month.last_on - month.first_on).days + 1)]
        sums.append(
            sum(
                (
                    Fraction(seconds, (end_on - start_on).days + 1)
                    for day in days
                    for start_on, end_on, seconds in rows
                    if start_on <= day <= end_on
                ),
                Fraction(0),
            )
        )
    return sums


# ---------------------------------------------------------------------------------------------- spreading


@given(stretches())
def test_the_months_of_a_stretch_add_up_to_it_exactly(stretch: Stretch) -> None:
    start_on, end_on, seconds = stretch
    months = months_from(Month.of(start_on), Month.of(start_on).until(Month.of(end_on)) + 1)
    assert sum(spread([stretch], months), Fraction(0)) == seconds


@given(st.lists(stretches(), max_size=6), DAYS, st.integers(1, 12))
def test_spreading_agrees_with_the_sum_over_the_days(rows: list[Stretch], first_on: date, count: int) -> None:
    months = months_from(Month.of(first_on), count)
    assert spread(rows, months) == day_by_day(rows, months)


def by_thirty_days(rows: Sequence[Stretch], months: Sequence[Month]) -> list[Fraction]:
    """A wrong spreading: every month takes as much as the others."""
    sums = [Fraction(0)] * len(months)
    for start_on, end_on, seconds in rows:
        touched = [nth for nth, month in enumerate(months) if month.first_on <= end_on and month.last_on >= start_on]
        for nth in touched:
            sums[nth] += Fraction(seconds, len(touched))
    return sums


def without_last_day(rows: Sequence[Stretch], months: Sequence[Month]) -> list[Fraction]:
    """Another: the last day of a period is forgotten."""
    return spread([(start, max(start, end - timedelta(days=1)), seconds) for start, end, seconds in rows], months)


@pytest.mark.parametrize("wrong", [by_thirty_days, without_last_day])
def test_the_days_catch_a_wrong_spreading(wrong: Callable[[Sequence[Stretch], Sequence[Month]], Any]) -> None:
    rows, months = [(date(2026, 1, 20), date(2026, 2, 28), 40 * HOUR)], months_from(Month(2026, 1), 2)
    assert day_by_day(rows, months) == [12 * HOUR, 28 * HOUR] == spread(rows, months)
    assert wrong(rows, months) != day_by_day(rows, months)


def test_spreading_over_a_leap_february_and_outside_the_months() -> None:
    months = months_from(Month(2028, 2), 1)
    assert spread([(date(2028, 1, 1), date(2028, 12, 31), 366)], months) == [29]
    assert spread([(date(2027, 1, 1), date(2028, 1, 31), 5), (date(2028, 3, 1), date(2028, 3, 1), 5)], months) == [0]
    assert spread([], months) == [0]


@given(DAYS, st.integers(-40, 40))
def test_months_count_forth_and_back(day: date, months: int) -> None:
    month = Month.of(day)
    later = month.plus(months)
    assert (month.until(later), later.plus(-months)) == (months, month)
    assert month.first_on <= day <= month.last_on < month.plus(1).first_on == month.last_on + timedelta(days=1)


# ---------------------------------------------------------------------------------------------- one pool, no database


def service(*steps: tuple[date, int], zone: str = "Asia/Hong_Kong", gaps: tuple[Any, ...] = ()) -> PoolService:
    pool = GpuPool(pk=1, cluster=Cluster(pk=1, code="c", time_zone=zone), code="p", gpu_model="H")
    return PoolService(pool=pool, steps=tuple(Step(from_on=day, gpus=gpus) for day, gpus in steps), gaps=gaps)


def lines(of: PoolService, **given_: Any) -> tuple[PoolMonth, ...]:
    told: dict[str, Any] = {
        "months": months_from(JUNE, 3),
        "granted": [],
        "asks": [],
        "chosen": frozenset(),
        "used": {},
        "books_as_of": None,
        "at": NOW,
    }
    return pool_board(service=of, **(told | given_)).months


@given(
    st.lists(
        st.tuples(st.integers(-100, 3_000), st.integers(1, 500), st.integers(0, 20)).map(
            lambda gap: (
                int(datetime(2026, 5, 31, 16, tzinfo=UTC).timestamp()) + gap[0] * HOUR,
                int(datetime(2026, 5, 31, 16, tzinfo=UTC).timestamp()) + (gap[0] + gap[1]) * HOUR,
                gap[2],
            )
        ),
        max_size=4,
    ),
    st.integers(0, 16),
)
def test_available_and_lost_are_what_is_in_service_hour_by_hour(gaps: list[tuple[int, int, int]], gpus: int) -> None:
    """Outages begin and end on the hour here, so that each hour can be looked at by itself."""
    june, july, august = lines(service((date(2026, 1, 1), gpus), (date(2026, 7, 10), 8), gaps=tuple(gaps)))
    zone = ZoneInfo("Asia/Hong_Kong")
    for line, days in ((june, 30), (july, 31), (august, 31)):
        begin = int(datetime(2026, line.month.number, 1, tzinfo=zone).timestamp())
        available = whole = 0
        for hour in range(days * 24):
            start = begin + hour * HOUR
            in_service = 8 if datetime.fromtimestamp(start, zone).date() >= date(2026, 7, 10) else gpus
            out = sum(gap[2] for gap in gaps if gap[0] <= start < gap[1])
            whole += in_service
            available += max(0, in_service - out)
        assert (line.available, line.lost) == (available * HOUR, (whole - available) * HOUR)


def test_a_month_of_a_zone_with_summer_time_has_an_hour_less() -> None:
    march, april = lines(service((date(2026, 1, 1), 1), zone="Europe/Berlin"), months=months_from(Month(2026, 3), 2))
    assert (march.available, april.available) == ((31 * 24 - 1) * HOUR, 30 * 24 * HOUR)


def test_steps_within_a_month_are_told_and_those_on_its_first_day_are_not() -> None:
    june, july, august = lines(service((date(2026, 6, 1), 4), (date(2026, 7, 10), 8), (date(2026, 8, 31), 2)))
    assert [(line.gpus_first, line.gpus_last) for line in (june, july, august)] == [(4, 4), (4, 8), (8, 2)]
    assert [[step.gpus for step in line.steps] for line in (june, july, august)] == [[], [8], [2]]


def test_shrinking_capacity_makes_a_month_over() -> None:
    granted = [(date(2026, 6, 1), date(2026, 8, 31), 92 * 24 * HOUR)]  # one GPU, all the time
    before = lines(service((date(2026, 1, 1), 1)), granted=granted)
    after = lines(service((date(2026, 1, 1), 1), (date(2026, 8, 17), 0)), granted=granted)
    assert [line.committed.over for line in before] == [0, 0, 0]
    assert [line.committed.over for line in after] == [0, 0, 15 * 24 * HOUR]
    assert [line.committed.left for line in after] == [0, 0, -15 * 24 * HOUR]
    assert after[2].committed.over_bp == 9_380  # 15 of 16 days


def test_asked_for_counts_all_and_the_choice_only_what_is_chosen() -> None:
    asks = [
        Asked(1, date(2026, 7, 1), date(2026, 7, 31), {1: 31 * HOUR, 2: 999}),
        Asked(2, date(2026, 6, 30), date(2026, 7, 1), {1: 2 * HOUR}),
        Asked(3, date(2026, 7, 1), date(2026, 7, 31), {2: 31 * HOUR}),  # nothing on this pool
    ]
    granted = [(date(2026, 7, 1), date(2026, 7, 31), HOUR)]
    for chosen, june, july in (
        (frozenset[int](), (HOUR, None, HOUR), (32 * HOUR, None, 33 * HOUR)),
        (frozenset({2}), (HOUR, HOUR, HOUR), (32 * HOUR, HOUR, 2 * HOUR)),
        (frozenset({3}), (HOUR, 0, 0), (32 * HOUR, 0, HOUR)),
    ):
        board = lines(service((date(2026, 1, 1), 1)), asks=asks, chosen=chosen, granted=granted)
        seen = [(line.asked_seconds, line.chosen_seconds, line.if_approved.whole_seconds) for line in board]
        assert seen[:2] == [june, july]


def test_used_is_known_as_far_as_the_books_reach() -> None:
    used = {date(2026, 5, 31): 7, date(2026, 6, 1): 10, date(2026, 6, 30): 20, date(2026, 7, 1): 40}
    pool = service((date(2026, 1, 1), 1))
    for books_as_of, expected in (
        (None, [(None, None), (None, None), (None, None)]),
        (datetime(2026, 6, 30, 15, tzinfo=UTC), [(30, date(2026, 6, 30)), (None, None), (None, None)]),
        (datetime(2026, 6, 30, 16, tzinfo=UTC), [(30, None), (40, date(2026, 7, 1)), (None, None)]),
    ):
        board = lines(pool, used=used, books_as_of=books_as_of)
        assert [(line.used, line.used_until) for line in board] == expected
        assert [line.used_share is not None for line in board] == [
            seconds is not None and until is None for seconds, until in expected
        ]


def test_over_is_decided_before_rounding() -> None:
    barely = Load(Fraction(10 * HOUR) + Fraction(1, 365), 10 * HOUR)
    assert (barely.is_over, barely.over, barely.whole_seconds) == (True, 1, 10 * HOUR)
    exact = Load(Fraction(10 * HOUR), 10 * HOUR)
    assert (exact.is_over, exact.over, exact.left, exact.over_bp) == (False, 0, 0, None)
    nothing = Load(Fraction(5), 0)
    assert (nothing.is_over, nothing.over, nothing.over_bp, nothing.share) == (True, 5, None, None)


# ---------------------------------------------------------------------------------------------- read from the database


@pytest.mark.django_db
def test_committed_of_a_month_is_the_front_page_s_definition_summed_over_its_days() -> None:
    """An independent second computation: `committed_per_pool` for each of the 365 days, on the same rows."""
    pools = [make.pool(), make.pool()]
    for nth, (pool, start, length) in enumerate(
        [(0, -400, 500), (0, -20, 45), (0, 10, 1), (1, 100, 365), (1, -60, 61), (0, 600, 30)]
    ):
        start_on = make.today() + timedelta(days=start)
        row = make.allocation(
            pool=pools[pool], hours=100 + 37 * nth, start_on=start_on, end_on=start_on + timedelta(days=length - 1)
        )
        state = (Allocation.State.OPEN, Allocation.State.CLOSED, Allocation.State.SUSPENDED)[nth % 3]
        Allocation.objects.filter(pk=row.pk).update(state=state)
    void = make.allocation(pool=pools[0], hours=5_000)
    Allocation.objects.filter(pk=void.pk).update(state=Allocation.State.VOID)

    board = capacity_board.board(first=Month.of(make.today()).plus(-2), at=timezone.now())
    for shown in board.pools:
        for line in shown.months:
            day, expected = line.month.first_on, Fraction(0)
            while day <= line.month.last_on:
                of_day = Allocation.objects.committed_per_pool({pool.pk: day for pool in pools})
                expected += of_day.get(shown.pool.pk, Fraction(0))
                day += timedelta(days=1)
            assert line.committed.seconds == expected
    assert any(line.committed.seconds for shown in board.pools for line in shown.months)


@pytest.mark.django_db
def test_only_what_was_received_and_is_not_decided_is_asked_for() -> None:
    pool = make.pool()
    waiting, withdrawn, awarded, drafted = (cases.application(hours={pool: 365}) for _ in range(4))
    applications.withdraw(application=withdrawn, reason="-", by=cases.secretary(), at=timezone.now())
    recorded = cases.decision(application=waiting)  # not confirmed: the case still waits
    cases.award(application=awarded)
    type(drafted).objects.filter(pk=drafted.pk).update(state=State.DRAFT)
    board = capacity_board.board(
        first=Month.of(make.today()), at=timezone.now(), chosen=[waiting.pk, withdrawn.pk, awarded.pk]
    )
    assert not recorded.is_confirmed
    assert [asked.application for asked in board.asks] == [waiting.pk]
    assert board.chosen == {waiting.pk}
    (shown,) = board.pools
    committed = sum((line.committed.seconds for line in shown.months), Fraction(0))
    asked = sum((line.asked for line in shown.months), Fraction(0))
    assert committed == asked > 0  # the award was opened with what its application asked for, for the same days


@pytest.mark.django_db
def test_equal_periods_are_read_as_one_and_others_apart() -> None:
    pool = make.pool()
    end_on = make.today() + timedelta(days=9)
    for hours in (10, 20):
        make.allocation(pool=pool, hours=hours, start_on=make.today(), end_on=end_on)
    make.allocation(pool=pool, hours=5, start_on=make.today(), end_on=make.today())
    read = commitments.granted_stretches(first_on=make.today(), last_on=make.today())
    assert {pool: sorted(rows) for pool, rows in read.items()} == {
        pool.pk: [
            (make.today(), make.today(), 5 * HOUR),
            (make.today(), end_on, 30 * HOUR),
        ]
    }


@pytest.mark.django_db
def test_month_follows_the_cluster_s_days() -> None:
    """At 30 June 17:00 UTC it is July in Hong Kong and still June in Honolulu."""
    with time_machine.travel(datetime(2026, 6, 30, 17, tzinfo=UTC), tick=False):
        for zone in ("Asia/Hong_Kong", "Pacific/Honolulu"):
            make.pool(cluster=make.cluster(time_zone=zone))
        board = capacity_board.board(first=JUNE, at=timezone.now())
    running = {
        shown.pool.cluster.time_zone: [line.month.number for line in shown.months if line.is_running]
        for shown in board.pools
    }
    assert running == {"Asia/Hong_Kong": [7], "Pacific/Honolulu": [6]}
