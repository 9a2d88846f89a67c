"""The team's subsidy page: what it shows, to whom, in how many queries."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from allocations import ledger
from allocations.models import DailyUsage, UsageImport
from centre import registry
from centre.models import GpuPool
from centre.permissions import StaffRole
from centre.templatetags.portal import hkd, percent
from subsidies import awards
from subsidies.models import Award
from tests import make
from tests.subsidies import cases

pytestmark = [pytest.mark.django_db, pytest.mark.page]

QUERIES = 14  # session, person, roles, project, 8 for the awards, their tab, the centre's name


def address(award: Award) -> str:
    return f"/projects/{award.project.code}/subsidy/"


def awarded(pools: int = 1) -> Award:
    """An award with so many pools and conditions, a day of usage on each pool, and an import."""
    cluster = make.cluster()
    rows: list[GpuPool] = [make.pool(price=1_000, cluster=cluster, gpu_model=f"Model-{n}") for n in range(pools)]
    conditions = [
        awards.Asked("Report early.", make.today() - timedelta(days=1)),
        *(awards.Asked(f"Publish part {n}.", make.today() + timedelta(days=n)) for n in range(pools)),
    ]
    case = cases.application(hours=dict.fromkeys(rows, 1_000))
    award = cases.award(decision=cases.decision(application=case, conditions=conditions))
    for grant in award.grants.all():
        DailyUsage.objects.create(allocation=grant.allocation, day=make.today(), user_name="u", seconds=36_000)
    UsageImport.objects.create(
        cluster=cluster,
        state=UsageImport.State.DONE,
        file_name="export",
        time_zone="Asia/Hong_Kong",
        as_of=timezone.now(),
        received_at=timezone.now(),
        by=None,
    )
    return award


def test_lead_sees_amount_rate_hours_conditions_subsidy_and_own_share(client: Client) -> None:
    award = awarded()
    assert award.application.lead is not None
    client.force_login(award.application.lead)
    page = client.get(address(award))
    text = " ".join(page.content.decode().split())
    assert page.status_code == 200
    for shown in (
        award.number,
        "HK$7,000",  # the amount
        "70 %",
        "HK$70",  # drawn: 10 GPU-hours at HK$10 x 70 %
        "HK$30",  # own share
        "HK$100",  # list value
        "Report early.",
        "Overdue",
        "Publish part 0.",
        "Open",
        "Model-0",
    ):
        assert shown in text


def test_hours_that_came_besides_the_award_are_told_and_lead_to_the_ledger(client: Client) -> None:
    award = awarded()
    allocation = award.grants.get().allocation
    client.force_login(make.member(project=award.project))
    assert "came besides" not in client.get(address(award)).content.decode()
    ledger.top_up(
        allocation=allocation,
        seconds=500 * make.HOUR,
        by=make.person(),
        approved_by=make.person(),
        at=timezone.now(),
        key="more",
        source_kind="request",
        reason="-",
    )
    page = client.get(address(award)).content.decode()
    told = "The award granted 1,000 GPU-hours on Model-0. With what came besides, such as more hours, moves or hours "
    assert f"{told}returned to the centre, {allocation.reference} has 1,500 granted now." in page
    assert f'href="/projects/{award.project.code}/ledger/?allocation={allocation.reference}"' in page


@pytest.mark.parametrize("pools", [1, 3])
def test_page_takes_the_same_number_of_queries_for_1_and_3_pools(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries, pools: int
) -> None:
    award = awarded(pools)
    client.force_login(make.member(project=award.project))
    client.get(address(award))
    with django_assert_num_queries(QUERIES):
        page = client.get(address(award)).content.decode()
    assert [f"Publish part {n}." in page for n in range(pools)] == [True] * pools
    assert [f"Model-{n}" in page for n in range(pools)] == [True] * pools


def test_strangers_and_projects_without_award_are_not_found(client: Client) -> None:
    award = awarded()
    stranger = make.member(project=make.project())
    administrator = make.staff(StaffRole.ADMINISTRATOR)
    for user in (stranger, administrator):
        client.force_login(user)
        assert client.get(address(award)).status_code == 404
    without = make.project()
    client.force_login(make.member(project=without))
    assert client.get(f"/projects/{without.code}/subsidy/").status_code == 404


def test_signatory_and_staff_who_work_with_cases_see_it(client: Client) -> None:
    award = awarded()
    for user in (make.representative(tenant=award.project.tenant), make.staff(StaffRole.FINANCE_OFFICER)):
        client.force_login(user)
        assert client.get(address(award)).status_code == 200


def test_anonymous_is_asked_to_sign_in(client: Client) -> None:
    response = client.get(address(awarded()))
    assert (response.status_code, response.headers["Location"].split("?")[0]) == (302, "/accounts/login/")


def test_project_links_lead_to_the_page_of_those_who_may_see_it() -> None:
    award = awarded()
    member, stranger = make.member(project=award.project), make.person()
    assert address(award) in [link.url for link in registry.links_of(award.project, member)]
    assert address(award) not in [link.url for link in registry.links_of(award.project, stranger)]


def test_project_links_say_what_the_subsidy_is(client: Client) -> None:
    award = awarded()
    client.force_login(make.member(project=award.project))
    page = client.get(f"/projects/{award.project.code}/").content.decode()
    rate, amount = percent(award.rate_bp), hkd(award.amount_cents)
    assert f"Award {award.number} pays {rate} of the list price, up to {amount}: terms" in page


def test_hostile_titles_and_conditions_stay_text(client: Client) -> None:
    case = cases.application(title="<script>alert(1)</script>")
    award = cases.award(
        decision=cases.decision(application=case, conditions=[awards.Asked("<img src=x onerror=alert(1)>")])
    )
    client.force_login(make.member(project=award.project))
    page = client.get(address(award)).content.decode()
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
