"""A tenant's own page: what its representatives see of all of its projects, and who else does."""

import re
from datetime import UTC, date, datetime, timedelta
from html import unescape
from typing import Any

import pytest
import time_machine
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from centre.merging_tenants import merge_tenants
from centre.models import GpuPool, Representative, Tenant, User
from centre.permissions import ProjectRole, StaffRole
from tests import make

NOW = datetime(2026, 6, 15, 4, tzinfo=UTC)  # noon in Hong Kong
QUERIES = 11
"""Session, person, staff roles, tenant, how many projects, this page of them, the centre, allocations, usage per day,
sums per pool, people."""

pytestmark = [pytest.mark.django_db, pytest.mark.page]


@pytest.fixture(autouse=True)
def noon() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def pool() -> GpuPool:
    return make.pool("h800", cluster=make.cluster("hk", site=make.site(name_en="Cyberport")))


@pytest.fixture
def house() -> Tenant:
    return make.tenant("lantau", name_en="Lantau House", name_zh_hant="大嶼樓")


@pytest.fixture
def signatory(house: Tenant) -> User:
    return make.representative(tenant=house)


def text_of(client: Client) -> str:
    response = client.get("/tenants/lantau/")
    assert response.status_code == 200
    page = re.sub(r"<svg.*?</svg>", "", response.content.decode(), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_tenant_page_adds_up_open_allocations_per_pool(
    client: Client, house: Tenant, signatory: User, pool: GpuPool
) -> None:
    other = make.pool("l40", cluster=pool.cluster, gpu_model="L40S")
    for nth in range(2):
        project = make.project(f"alpha-{nth}", title=f"Title {nth}", tenant=house)
        allocation = make.allocation(project=project, pool=pool, hours=1_000)
        run = make.run(allocation=allocation, hours=10, gpus=nth + 1, start_at=NOW - timedelta(days=2))
        make.imported(run, cluster=pool.cluster, as_of=NOW)
    make.allocation(project=project, pool=other, hours=70)
    make.allocation(project=project, pool=other, hours=500, start_on=date(2025, 1, 1), end_on=date(2025, 2, 1))
    make.allocation(project=make.project("foreign", title="Foreign"), pool=pool, hours=9_000)
    client.force_login(signatory)
    text = text_of(client)
    assert "H800 GPUs, Cyberport · 2 allocations 1,970 GPU-hours left of 2,000 used 30 left 1,970 As of 15 Jun" in text
    assert "L40S GPUs, Cyberport · 1 allocation 70 GPU-hours left of 70" in text
    assert "Title 0 alpha-0 990 of 1,000" in text
    assert "Title 1 alpha-1 1,050 of 1,070" in text
    assert "Foreign" not in text


def test_tenant_page_counts_people_by_role(client: Client, house: Tenant, signatory: User) -> None:
    one, two = (make.project(f"alpha-{nth}", tenant=house) for nth in range(2))
    lead = make.member(project=one, role=ProjectRole.LEAD)
    make.member(project=two, role=ProjectRole.LEAD, user=lead)
    for _nth in range(3):
        make.member(project=two)
    make.member(project=make.project("foreign"), role=ProjectRole.VIEWER)
    Representative.objects.create(tenant=house, user=make.person(), since_at=NOW, ended_at=NOW)
    client.force_login(signatory)
    assert "People Representative 1 Lead 1 Member 3 How is this" in text_of(client)


def test_tenant_page_without_projects_says_so(client: Client, house: Tenant, signatory: User) -> None:
    client.force_login(signatory)
    text = text_of(client)
    assert "No projects yet" in text
    assert "GPU-hours left" not in text


def test_tenant_page_is_for_representatives_and_staff_who_see_every_project(
    client: Client, house: Tenant, signatory: User
) -> None:
    project = make.project("alpha", tenant=house)
    former = make.representative(tenant=house)
    Representative.objects.filter(user=former).update(ended_at=NOW)
    answers = {
        signatory: 200,
        make.staff(StaffRole.AUDITOR): 200,
        make.staff(StaffRole.ALLOCATION_OFFICER): 200,
        make.staff(StaffRole.COMMITTEE_MEMBER): 404,
        make.member(project=project, role=ProjectRole.LEAD): 404,
        make.member(project=project): 404,
        make.member(project=project, role=ProjectRole.VIEWER): 404,
        make.representative(tenant=make.tenant("elsewhere")): 404,
        former: 404,
        make.person(): 404,
    }
    for user, status in answers.items():
        client.force_login(user)
        assert client.get("/tenants/lantau/").status_code == status
    client.force_login(signatory)
    assert client.post("/tenants/lantau/").status_code == 405
    assert client.get("/tenants/nowhere/").status_code == 404


def test_code_of_a_merged_record_leads_to_the_one_that_stays_for_those_who_see_it(
    client: Client, house: Tenant, signatory: User
) -> None:
    twice = make.tenant("lantau-2")
    merge_tenants(keep=house, gone=twice, reason="registered twice", by=None, at=NOW)
    for reader in (signatory, make.staff(StaffRole.AUDITOR)):
        client.force_login(reader)
        answer = client.get("/tenants/lantau-2/")
        assert (answer.status_code, answer.headers.get("Location")) == (302, "/tenants/lantau/")
    for stranger in (make.representative(tenant=make.tenant("elsewhere")), make.staff(StaffRole.COMMITTEE_MEMBER)):
        client.force_login(stranger)
        assert client.get("/tenants/lantau-2/").status_code == 404


@pytest.mark.parametrize("rows", [1, 3])
def test_tenant_page_takes_the_same_queries_for_any_number_of_rows(
    client: Client,
    house: Tenant,
    signatory: User,
    pool: GpuPool,
    rows: int,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for nth in range(rows):
        project = make.project(f"alpha-{nth}", tenant=house)
        make.member(project=project)
        for extra in range(nth + 1):
            make.allocation(project=project, pool=pool, account=f"account-{nth}-{extra}")
    client.force_login(signatory)
    with django_assert_num_queries(QUERIES):
        assert f"of {rows}" in text_of(client)


def test_tenant_page_shows_hostile_text_and_never_runs_it(client: Client, pool: GpuPool) -> None:
    house = make.tenant("lantau", name_en="<img src=x onerror=alert(1)>")
    make.allocation(project=make.project("alpha", title="<b>bold</b>", tenant=house), pool=pool)
    client.force_login(make.representative(tenant=house))
    page = client.get("/tenants/lantau/").content.decode()
    assert "<img" not in page
    assert "<b>bold" not in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
