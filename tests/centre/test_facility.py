"""Capacity arithmetic, against a count of every GPU of every second."""

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from centre import facility
from centre.facility import Share, available_seconds
from tests import make

SECONDS = st.integers(0, 120)
STEPS = st.lists(st.tuples(SECONDS, st.integers(0, 9)), max_size=5, unique_by=lambda step: step[0]).map(sorted)
GAPS = st.lists(st.tuples(SECONDS, SECONDS, st.integers(0, 9)).filter(lambda gap: gap[0] < gap[1]), max_size=5)


def counted_second_by_second(
    steps: list[tuple[int, int]], gaps: list[tuple[int, int, int]], begin: int, until: int
) -> int:
    total = 0
    for second in range(begin, until):
        in_service = 0
        for instant, gpus in steps:
            if instant <= second:
                in_service = gpus
        out = sum(gpus for first, last, gpus in gaps if first <= second < last)
        total += max(in_service - out, 0)
    return total


@given(STEPS, GAPS, SECONDS, SECONDS)
def test_available_seconds_are_what_every_second_offers(
    steps: list[tuple[int, int]], gaps: list[tuple[int, int, int]], one: int, other: int
) -> None:
    begin, until = sorted((one, other))
    assert available_seconds(steps, gaps, begin, until) == counted_second_by_second(steps, gaps, begin, until)


def test_a_share_is_rounded_once_half_up_to_a_tenth_of_a_per_cent() -> None:
    assert Share(Fraction(1), 3).bp == 3330
    assert Share(Fraction(2), 3).bp == 6670
    assert Share(Fraction(12345), 100_000).bp == 1230
    assert Share(Fraction(1235), 10_000).bp == 1240
    assert Share(Fraction(3), 2).bp == 15_000


@pytest.mark.django_db
def test_days_are_those_of_the_cluster_and_may_have_23_or_25_hours() -> None:
    make.pool(gpus=2, cluster=make.cluster(time_zone="Europe/Berlin"), from_on=date(2026, 1, 1))
    (service,) = facility.services(first_on=date(2026, 3, 1), last_on=date(2026, 10, 31))
    assert service.available_seconds(date(2026, 3, 28), date(2026, 3, 28)) == 2 * 24 * 3600
    assert service.available_seconds(date(2026, 3, 29), date(2026, 3, 29)) == 2 * 23 * 3600
    assert service.available_seconds(date(2026, 10, 25), date(2026, 10, 25)) == 2 * 25 * 3600


@pytest.mark.django_db
def test_a_pool_offers_its_steps_less_its_outages_and_nobody_elses() -> None:
    pool = make.pool(gpus=10, from_on=date(2026, 5, 1))
    other = make.pool(gpus=99, cluster=pool.cluster, from_on=date(2026, 5, 1))
    make.capacity(pool=pool, gpus=20, from_on=date(2026, 5, 11))
    noon = datetime(2026, 5, 10, 4, tzinfo=UTC)  # 12:00 in Hong Kong
    make.outage(pool=pool, gpus=4, starts_at=noon, ends_at=noon + timedelta(hours=24))
    make.outage(pool=pool, gpus=8, starts_at=noon, ends_at=noon + timedelta(hours=1))
    make.outage(pool=other, gpus=9, starts_at=noon, ends_at=noon + timedelta(hours=1))
    services = facility.services(first_on=date(2026, 5, 10), last_on=date(2026, 5, 11))
    (service,) = [service for service in services if service.pool == pool]
    # The 10th: 10 GPUs, in the first hour after noon none (12 are out), then 6. The 11th: 16 until noon, then 20.
    assert service.available_seconds(date(2026, 5, 10), date(2026, 5, 10)) == (10 * 12 + 0 + 6 * 11) * 3600
    assert service.available_seconds(date(2026, 5, 11), date(2026, 5, 11)) == (16 * 12 + 20 * 12) * 3600
    assert service.available_seconds(date(2026, 4, 30), date(2026, 5, 1)) == 10 * 24 * 3600
    assert [service.gpus_on(date(2026, 5, day)) for day in (1, 10, 11)] == [10, 10, 20]
    assert service.gpus_on(date(2026, 4, 30)) == 0
    assert [(step.gpus, step.before) for step in service.planned_after(date(2026, 5, 10))] == [(20, 10)]


@pytest.mark.django_db
def test_an_outage_counts_for_every_day_that_it_touches() -> None:
    """An outage that began long before the days asked for is not forgotten."""
    pool = make.pool(gpus=10, from_on=date(2026, 1, 1))
    begun = datetime(2026, 2, 1, tzinfo=UTC)
    make.outage(pool=pool, gpus=3, starts_at=begun, ends_at=begun + timedelta(days=200))
    (service,) = facility.services(first_on=date(2026, 6, 1), last_on=date(2026, 6, 1))
    assert service.available_seconds(date(2026, 6, 1), date(2026, 6, 1)) == 7 * 24 * 3600
