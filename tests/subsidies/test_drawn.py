"""What an award has paid: the arithmetic against exact fractions, the sums against rows of usage."""

import math
from datetime import date, timedelta
from fractions import Fraction

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from allocations.models import DailyUsage, JobRun
from allocations.refunds import refund
from centre.models import ListPrice
from subsidies import drawn, prices
from subsidies.models import Award
from tests import make
from tests.subsidies import cases

SECONDS = st.integers(0, 10**12)
PRICES = st.integers(0, 10**6)
RATES = st.integers(1, 10_000)


def half_up(exact: Fraction) -> int:
    return math.floor(exact + Fraction(1, 2))


@given(parts=st.lists(st.tuples(SECONDS, PRICES), max_size=20), rate_bp=RATES, amount=st.integers(0, 10**13))
def test_figures_agree_with_exact_fractions(parts: list[tuple[int, int]], rate_bp: int, amount: int) -> None:
    exact = sum((Fraction(seconds * price, 3600) for seconds, price in parts), Fraction(0))
    usage = drawn.Usage(gpu_seconds=sum(seconds for seconds, _ in parts), cent_seconds=prices.cent_seconds(parts))
    found = drawn.drawn(usage, rate_bp=rate_bp, amount_cents=amount)
    assert found.list_value_cents == half_up(exact)
    assert found.subsidy_cents == min(half_up(exact * Fraction(rate_bp, 10_000)), amount)
    assert found.own_share_cents == found.list_value_cents - found.subsidy_cents


def use(award: Award, day: date, seconds: int, user_name: str = "u") -> None:
    allocation = award.grants.get().allocation
    DailyUsage.objects.create(allocation=allocation, day=day, user_name=user_name, seconds=seconds)


@pytest.mark.django_db
def test_each_day_counts_at_its_own_list_price() -> None:
    pool = make.pool(price=1_000)
    award = cases.award(application=cases.application(hours={pool: 1_000}))
    other = cases.award(application=cases.application(hours={pool: 1_000}))
    ListPrice.objects.create(pool=pool, from_on=make.today(), cents_per_gpu_hour=1_300)
    use(award, make.today() - timedelta(days=1), 3_599)
    use(award, make.today(), 7_201)
    use(award, make.today(), 1, user_name="v")
    use(other, make.today(), 10)
    exact = Fraction(3_599 * 1_000 + 7_202 * 1_300, 3_600)
    found = drawn.drawn_by([award, other])
    assert found[award.pk] == drawn.Drawn(
        gpu_seconds=10_801,
        list_value_cents=half_up(exact),
        subsidy_cents=half_up(exact * Fraction(7, 10)),
        own_share_cents=half_up(exact) - half_up(exact * Fraction(7, 10)),
    )
    assert found[other.pk].gpu_seconds == 10


@pytest.mark.django_db
def test_subsidy_stops_at_the_amount_and_the_rest_is_own_share() -> None:
    award = cases.award(application=cases.application(hours={make.pool(price=1_000): 1}))
    assert award.amount_cents == 700
    use(award, make.today(), 5 * 3_600)
    assert drawn.drawn_by([award])[award.pk] == drawn.Drawn(
        gpu_seconds=18_000, list_value_cents=5_000, subsidy_cents=700, own_share_cents=4_300
    )


@pytest.mark.django_db
def test_usage_on_a_day_without_a_price_is_told_apart() -> None:
    pool = make.pool(price=None)
    ListPrice.objects.create(pool=pool, from_on=make.today(), cents_per_gpu_hour=1_000)
    award = cases.award(application=cases.application(hours={pool: 10}))
    use(award, make.today() - timedelta(days=1), 3_600)
    use(award, make.today(), 3_600)
    found = drawn.drawn_by([award])[award.pk]
    assert (found.gpu_seconds, found.unpriced_seconds, found.list_value_cents) == (7_200, 3_600, 1_000)


@pytest.mark.django_db
def test_award_without_usage_has_drawn_nothing() -> None:
    award = cases.award()
    assert drawn.drawn_by([award]) == {award.pk: drawn.Drawn(0, 0, 0, 0)}


@pytest.mark.django_db
def test_list_price_is_the_latest_by_the_day() -> None:
    pool, none = make.pool(price=1_000), make.pool(price=None)
    ListPrice.objects.create(pool=pool, from_on=make.today(), cents_per_gpu_hour=1_300)
    yesterday = make.today() - timedelta(days=1)
    assert prices.list_prices([pool, none], on=yesterday) == {pool.pk: 1_000}
    assert prices.list_prices([pool, none], on=make.today()) == {pool.pk: 1_300}


@pytest.mark.django_db
def test_a_refunded_run_draws_nothing() -> None:
    pool = make.pool(price=1_000)
    decision = cases.decision(
        application=cases.application(hours={pool: 1_000}), starts_on=make.today() - timedelta(days=5)
    )
    award = cases.award(decision=decision)
    allocation = award.grants.get().allocation
    start = timezone.now().replace(microsecond=0) - timedelta(hours=30)
    runs = [make.run(allocation=allocation, hours=hours, start_at=start) for hours in (5, 2)]
    make.imported(*runs, cluster=pool.cluster)
    assert drawn.drawn_by([award])[award.pk].list_value_cents == 7_000
    refund(
        allocation=allocation,
        runs={JobRun.objects.get(job_id_raw=runs[0].number).pk: 5 * 3_600},
        by=make.person(),
        approved_by=make.person(),
        at=timezone.now(),
        key="r",
        reason="node failed",
    )
    found = drawn.drawn_by([award])[award.pk]
    assert (found.gpu_seconds, found.list_value_cents, found.subsidy_cents) == (2 * 3_600, 2_000, 1_400)
