"""The money on statements: months add up to what the award has paid, to the cent, whatever is learnt when."""

import json
import re
from datetime import UTC, date, datetime, timedelta
from html import unescape
from typing import Any

import pytest
import time_machine
from django.test import Client

from allocations.issuing import issue
from allocations.models import Allocation, JobRun
from allocations.refunds import refund
from allocations.statement_money import together
from allocations.verifying import differences
from centre import machines
from centre.models import Project
from subsidies import drawn
from subsidies.models import Award, AwardGrant
from tests import make
from tests.subsidies import cases

pytestmark = pytest.mark.django_db

FIGURES = ("list_value_cents", "subsidy_cents", "own_share_cents")


def hongkong(month: int, day: int, hour: int = 12, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC) - timedelta(hours=8)


@pytest.fixture
def award() -> Award:
    """From 10 April: 7 GPU-hours at HK$9.99, of which 70 % are paid up to that amount."""
    with time_machine.travel(hongkong(4, 10), tick=False):
        make.centre()
        return cases.award(application=cases.application(hours={make.pool("h800", price=999): 7}))


def use(allocation: Allocation, start_at: datetime, seconds: int, at: datetime, **told: Any) -> None:
    """A run of so many seconds on one GPU, which an import at an instant brings."""
    with time_machine.travel(at, tick=False):
        run = make.Run(
            account=allocation.account,
            partition=allocation.pool.code,
            start_at=start_at,
            end_at=start_at + timedelta(seconds=seconds),
            **told,
        )
        make.imported(run, cluster=allocation.pool.cluster, as_of=at, covers_from=hongkong(4, 1))


def money(project: Project, month: int, at: datetime) -> dict[str, int]:
    """What the statement of a month says that the month comes to."""
    statement = issue(project=project, month=date(2026, month, 1), by=None, at=at)
    return together(json.loads(statement.content)["money"], "this")


def test_months_add_up_to_what_the_award_has_paid(award: Award) -> None:
    """Odd seconds, so that every month is rounded; a refund, late usage, and a price for days that are over."""
    allocation = award.grants.get().allocation
    pool, project = allocation.pool, award.project
    use(allocation, hongkong(4, 11), 3_599, hongkong(5, 2), number=91)
    told = [money(project, 4, hongkong(5, 4))]
    use(allocation, hongkong(4, 12), 4_001, hongkong(5, 10), number=92)
    run = JobRun.objects.get(job_id_raw=91)
    people: dict[str, Any] = {"by": make.person(), "approved_by": make.person(), "reason": "-"}
    refund(allocation=allocation, runs={run.pk: 3_599}, at=hongkong(5, 11), key="r", **people)
    machines.set_price(pool=pool, cents_per_gpu_hour=1_501, from_on=date(2026, 4, 12), by=None, at=hongkong(5, 12))
    use(allocation, hongkong(5, 20), 7_777, hongkong(6, 2))
    told.append(money(project, 5, hongkong(6, 4)))
    use(allocation, hongkong(6, 20), 17_777, hongkong(7, 2))
    told.append(money(project, 6, hongkong(7, 4)))
    paid = drawn.drawn_by([award])[award.pk]
    assert {name: sum(month[name] for month in told) for name in FIGURES} == {
        name: getattr(paid, name) for name in FIGURES
    }
    assert paid.subsidy_cents == award.amount_cents
    assert told[0] == {
        "gpu_seconds": 3_599,
        "unpriced_seconds": 0,
        "list_value_cents": 999,
        "subsidy_cents": 699,
        "own_share_cents": 300,
    }
    assert list(differences()) == []


def test_rounding_each_month_by_itself_is_caught(award: Award) -> None:
    """The control: three months of a third of a cent each come to one cent together, and to none apart."""
    allocation = award.grants.get().allocation
    machines.set_price(
        pool=allocation.pool, cents_per_gpu_hour=1_200, from_on=date(2026, 4, 11), by=None, at=hongkong(4, 10)
    )
    told, apart = [], 0
    for month in (4, 5, 6):
        use(allocation, hongkong(month, 20), 1, hongkong(month + 1, 2))
        told.append(money(award.project, month, hongkong(month + 1, 4))["list_value_cents"])
        apart += drawn.drawn(drawn.Usage(cent_seconds=1_200), rate_bp=1, amount_cents=0).list_value_cents
    assert (told, apart) == ([0, 1, 0], 0)
    assert drawn.drawn_by([award])[award.pk].list_value_cents == 1


def test_hours_beside_an_award_are_told_apart(award: Award) -> None:
    with time_machine.travel(hongkong(4, 10), tick=False):
        bought = make.allocation(
            project=award.project,
            pool=award.grants.get().allocation.pool,
            account="bought",
            reference="BOUGHT",
            funding=Allocation.Funding.PURCHASED,
            start_on=date(2026, 4, 10),
            end_on=date(2026, 12, 31),
        )
    use(bought, hongkong(4, 20), 3_600, hongkong(5, 2))
    use(award.grants.get().allocation, hongkong(4, 20), 3_600, hongkong(5, 3))
    statement = issue(project=award.project, month=date(2026, 4, 1), by=None, at=hongkong(5, 4))
    lines = json.loads(statement.content)["money"]
    assert [(line["name"], *(line["this"][name] for name in FIGURES)) for line in lines] == [
        ("BOUGHT", 999, 0, 999),
        (award.number, 999, 699, 300),
    ]


def test_usage_that_an_award_takes_over_moves_from_one_line_to_the_other(award: Award) -> None:
    """What stood as an allocation's own is the award's once it gives hours to it; the total stays."""
    allocation = make.allocation(
        project=award.project,
        pool=award.grants.get().allocation.pool,
        account="own",
        reference="OWN",
        funding=Allocation.Funding.PURCHASED,
        start_on=date(2026, 4, 10),
        end_on=date(2026, 12, 31),
        at=hongkong(4, 10),
    )
    use(allocation, hongkong(4, 20), 3_600, hongkong(5, 2))
    april = money(award.project, 4, hongkong(5, 4))
    AwardGrant.objects.create(
        award=award, allocation=allocation, entry=allocation.entries.get(kind="grant"), gpu_seconds=1
    )
    use(allocation, hongkong(5, 20), 1, hongkong(6, 2))
    may = money(award.project, 5, hongkong(6, 4))
    paid = drawn.drawn_by([award])[award.pk]
    assert {name: april[name] + may[name] for name in FIGURES} == {name: getattr(paid, name) for name in FIGURES}
    assert [found for found in differences() if found.startswith("Statement")] == []


def test_a_run_tells_what_its_award_pays_until_the_amount_is_used_up(client: Client, award: Award) -> None:
    """Three hours, and then seven more: at HK$9.99 and 70 %, an amount for seven hours is reached."""
    allocation = award.grants.get().allocation
    use(allocation, hongkong(4, 20), 3 * 3_600, hongkong(5, 2), number=91)
    client.force_login(make.member(project=award.project))
    path = f"/projects/{award.project.code}/runs/{JobRun.objects.get().pk}/"

    def told() -> str:
        page = client.get(path).content.decode()
        section = page[page.index('id="worth"') : page.index('id="told"')]
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", section)).replace("\N{NO-BREAK SPACE}", " ").split())

    assert (
        f"Award {award.number} 70 % of the list value, up to HK$48.95 in all 3.00 HK$29.97 HK$20.98 HK$8.99" in told()
    )
    assert "is used up" not in told()
    use(allocation, hongkong(4, 21), 7 * 3_600, hongkong(5, 3), number=92)
    assert "3.00 HK$29.97 HK$20.98 at most HK$8.99 at least" in told()
    assert f"The amount of award {award.number} is used up." in told()
