"""The tenant officer's pages: a tenant found among many, all of it on one page, and what stands in the way shown."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from allocations.models import Allocation, JobRun
from allocations.scheduling import SchedulerState, scheduling_of
from centre import contacts, tenants
from centre.admin.told import ACTS
from centre.models import Event, Project, Tenant, TenantContact
from centre.models.tenants import Standing, TenantCategory
from centre.permissions import ProjectRole, StaffRole
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.page]

R = StaffRole
LIST = reverse("admin:centre_tenant_changelist")


@pytest.fixture
def officer(client: Client) -> Client:
    client.force_login(make.staff(R.TENANT_OFFICER))
    return client


def page_of(row: Tenant | Project, act: str = "change") -> str:
    return reverse(f"admin:centre_{row._meta.model_name}_{act}", args=[row.pk])


def found(client: Client, **asked: str) -> list[str]:
    return [row.code for row in client.get(LIST, asked).context["cl"].result_list]


def cost_of(client: Client, url: str) -> int:
    client.get(url)
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url).status_code == 200
    return len(queries)


def contact(tenant: Tenant, **given: str) -> TenantContact:
    return contacts.add_contact(tenant=tenant, by=None, at=timezone.now(), **{"phone": "2345 6789", **given})


def test_a_contact_is_named_as_people_are() -> None:
    tenant = make.tenant()
    assert contact(tenant, name="  Ada   Wong ").name == "Ada Wong"
    with pytest.raises(ValidationError) as refused:
        contact(tenant, name="ada@example.org")
    assert refused.value.messages == ["Write the name alone, without a web or e-mail address."]


@pytest.mark.parametrize("word", ["harbour-u", "Harbour", "海港", "海湾", "B-1234", "Ada", "ada@example", "vision"])
def test_a_tenant_is_found_by_whatever_it_is_known_by(word: str, officer: Client) -> None:
    tenant = make.tenant("harbour-u", name_en="Harbour University", name_zh_hant="海港大學", name_zh_hans="海湾大学")
    tenants.change_tenant(tenant=tenant, registration_number="B-1234", by=None, at=timezone.now())
    contact(tenant, name="Ada", email="ada@example.org")
    contact(tenant, name="Ada II")
    make.project("vision", tenant=tenant)
    make.project("vision-two", tenant=tenant)
    make.tenant("quarry", name_en="Quarry Bay Pumps")
    assert found(officer, q=word) == ["harbour-u"]


def test_every_word_of_a_search_counts(officer: Client) -> None:
    make.project("vision", tenant=make.tenant("one", name_en="Harbour"))
    make.project("speech", tenant=make.tenant("two", name_en="Harbour"))
    assert (found(officer, q="harbour speech"), found(officer, q="harbour pumps")) == (["two"], [])


def test_an_ended_contact_is_no_way_to_find_a_tenant(officer: Client) -> None:
    ended = contact(make.tenant(), name="Grace")
    contacts.end_contact(contact=ended, by=None, at=timezone.now())
    assert found(officer, q="Grace") == []


def test_agreements_are_filtered_by_their_last_day(officer: Client) -> None:
    for code, days in {"over": -1, "today": 0, "soon": 90, "later": 91}.items():
        until = make.today() + timedelta(days=days)
        tenants.change_tenant(tenant=make.tenant(code), agreement_until_on=until, by=None, at=timezone.now())
    endless = make.tenant("endless")
    tenants.change_tenant(tenant=endless, agreement_from_on=make.today(), by=None, at=timezone.now())
    make.tenant("without")
    assert {choice: found(officer, agreement=choice) for choice in ("soon", "over", "running", "none")} == {
        "soon": ["soon", "today"],
        "over": ["over"],
        "running": ["endless", "later"],
        "none": ["without"],
    }


def test_the_list_says_what_is_left_over_the_open_allocations(officer: Client) -> None:
    tenant = make.tenant()
    for _n in range(2):
        make.allocation(project=make.project(tenant=tenant), hours=1_500)
    assert '<td class="field-hours">3,000</td>' in officer.get(LIST).content.decode()
    officer.force_login(make.staff(R.ADMINISTRATOR))  # who may not look at allocations
    assert "field-hours" not in officer.get(LIST).content.decode()


def test_the_agreement_cannot_end_before_it_begins_and_what_was_typed_stays(officer: Client) -> None:
    given = {
        "code": "harbour-u",
        "name_en": "Harbour",
        "category": "university",
        "agreement_from_on": "2030-02-01",
        "agreement_until_on": "2030-01-31",
    }
    page = officer.post(reverse("admin:centre_tenant_add"), given).content.decode()
    assert (page.count("The agreement ends before it begins."), 'value="2030-01-31"' in page) == (1, True)
    assert officer.post(reverse("admin:centre_tenant_add"), given | {"agreement_until_on": ""}).status_code == 302
    assert str(Tenant.objects.get().agreement_from_on) == "2030-02-01"


def with_contacts(page: Any, **given: str) -> dict[str, str]:
    """The form of a tenant's page as it stands, with other contacts."""
    tenant = page.context["original"]
    rows = {"TOTAL_FORMS": "1", "INITIAL_FORMS": "0"}
    for inline in page.context["inline_admin_formsets"][1:]:
        rows |= {f"../{inline.formset.prefix}-{name}_FORMS": "0" for name in ("TOTAL", "INITIAL")}
    named = {key.removeprefix("../") if key.startswith("../") else f"contacts-{key}": row for key, row in rows.items()}
    return {"name_en": tenant.name_en, "category": tenant.category, **named, **given}


def test_a_contact_is_added_mended_and_ended_on_the_page_and_told_in_its_history(officer: Client) -> None:
    tenant = make.tenant()
    url = page_of(tenant)
    given = with_contacts(officer.get(url), **{"contacts-0-name": "Ada", "contacts-0-role": "Dean"})
    assert "Give an e-mail address or a phone number." in officer.post(url, given).content.decode()
    assert officer.post(url, given | {"contacts-0-phone": "2345 6789"}).status_code == 302
    row = TenantContact.objects.get()
    stands = {
        "contacts-INITIAL_FORMS": "1",
        "contacts-0-id": str(row.pk),
        "contacts-0-tenant": str(tenant.pk),
        "contacts-0-phone": "1111",
        "contacts-0-ends": "on",
    }
    assert officer.post(url, given | stands).status_code == 302
    row.refresh_from_db()
    assert (row.phone, row.ended_at is not None) == ("1111", True)
    events = Event.objects.filter(object_type="centre.tenant").order_by("id").values_list("act", "changes")
    assert list(events)[1:] == [
        ("add_contact", {"contact": "Ada, Dean, 2345 6789"}),
        ("change_contact", {"contact": ["Ada, Dean, 2345 6789", "Ada, Dean, 1111"]}),
        ("end_contact", {"contact": "Ada, Dean, 1111"}),
    ]
    history = officer.get(page_of(tenant, "history")).content.decode()
    assert "Contact: Ada, Dean, 2345 6789 → Ada, Dean, 1111" in history
    assert "Earlier contacts" in officer.get(url).content.decode()


@pytest.mark.parametrize("rows_that_stood", ["0", "1"])
def test_a_contact_of_another_tenant_is_neither_changed_nor_copied(officer: Client, rows_that_stood: str) -> None:
    tenant, theirs = make.tenant(), contact(make.tenant(), name="Ada Lo")
    given = with_contacts(officer.get(page_of(tenant)), **{"contacts-INITIAL_FORMS": rows_that_stood})
    sent = {"id": str(theirs.pk), "tenant": str(tenant.pk), "name": "Mallory", "role": "Dean", "phone": "1111"}
    answer = officer.post(page_of(tenant), given | {f"contacts-0-{name}": value for name, value in sent.items()})
    assert answer.status_code == 200
    assert [(row.tenant, row.name) for row in TenantContact.objects.all()] == [(theirs.tenant, "Ada Lo")]
    assert "Mallory" in answer.content.decode()


def test_who_only_looks_sees_the_contacts_and_cannot_change_them(client: Client) -> None:
    tenant = make.tenant()
    contact(tenant, name="Ada Lo")
    client.force_login(make.staff(R.AUDITOR))
    page = client.get(page_of(tenant)).content.decode()
    assert ("Ada Lo" in page, 'name="contacts-0-name"' in page, 'name="shown_values"' in page) == (True, False, False)
    assert client.post(page_of(tenant), {}).status_code == 403


def fill(tenant: Tenant) -> None:
    """A project with a lead, an allocation, a contact and a representative."""
    project = make.project(tenant=tenant, lead=make.person())
    make.allocation(project=project)
    contact(tenant, name="Somebody")
    make.representative(tenant=tenant)


def test_the_page_of_a_tenant_costs_the_same_however_much_belongs_to_it(officer: Client) -> None:
    tenant = make.tenant()
    fill(tenant)
    one = cost_of(officer, page_of(tenant))
    fill(tenant)
    fill(tenant)
    assert (one, cost_of(officer, page_of(tenant))) == (16, 16)


def test_the_page_on_which_a_tenant_is_closed_costs_the_same_however_much_goes_on(officer: Client) -> None:
    tenant = make.tenant()
    fill(tenant)
    one = cost_of(officer, page_of(tenant, "close"))
    fill(tenant)
    fill(tenant)
    assert (one, cost_of(officer, page_of(tenant, "close"))) == (15, 15)


def test_the_merge_page_costs_the_same_however_much_would_move(officer: Client) -> None:
    tenant = make.tenant()
    fill(tenant)
    one = cost_of(officer, page_of(tenant, "merge"))
    fill(tenant)
    fill(tenant)
    assert (one, cost_of(officer, page_of(tenant, "merge"))) == (10, 10)


def going_on(client: Client, url: str) -> dict[str, tuple[int, str]]:
    return {str(part.title): (part.count, str(part.total)) for part in client.get(url).context["going_on"]}


def test_what_still_goes_on_is_shown_before_a_tenant_is_suspended(officer: Client) -> None:
    tenant = make.tenant()
    project = make.project("vision", tenant=tenant, lead=make.person())
    allocation = make.allocation(project=project, hours=500)
    make.representative(tenant=tenant)
    other = make.allocation(hours=900)
    at = timezone.now() - timedelta(hours=2)
    runs = []
    for account in (allocation.account, other.account):
        run = make.Run(account=account, partition=allocation.pool.code, start_at=at, gpus=8, state="RUNNING")
        runs.append(run)
    make.imported(*runs, cluster=allocation.pool.cluster)
    shown = going_on(officer, page_of(tenant, "suspend"))
    assert shown["Open allocations"][0] == 1
    told = f"{allocation.account}, {JobRun.objects.get(account=allocation.account).user_name}, 8 GPUs: Running"
    assert told in officer.get(page_of(tenant, "suspend")).content.decode()
    assert shown["Jobs running or waiting to run"] == (1, "8 GPUs in use")
    assert (shown["Members of the teams"][0], shown["Representatives"][0]) == (1, 1)
    assert shown["Projects that are not closed"][0] == 1
    assert "Requests waiting for an answer" not in shown
    assert Tenant.objects.get(pk=tenant.pk).standing == Standing.ACTIVE


def test_closing_a_tenant_names_the_projects_in_the_way_with_links(officer: Client) -> None:
    tenant = make.tenant()
    project = make.project("vision", tenant=tenant)
    page = officer.get(page_of(tenant, "close")).content.decode()
    assert ("Stands in the way" in page, page_of(project) in page) == (True, True)
    refused = officer.post(page_of(tenant, "close"), {"reason": "Over"}).content.decode()
    assert "Close the tenant&#x27;s projects first: vision." in refused
    tenants.close_project(project=project, reason="-", by=None, at=timezone.now())
    assert "Stands in the way" not in officer.get(page_of(tenant, "close")).content.decode()
    officer.post(page_of(tenant, "close"), {"reason": "Over"})
    assert Tenant.objects.get().standing == Standing.CLOSED


def test_a_project_shows_its_own_allocations_and_members_before_it_is_closed(officer: Client) -> None:
    project = make.project(lead=make.person())
    make.member(project=project, role=ProjectRole.VIEWER)
    make.allocation(project=project, hours=500)
    make.allocation(project=make.project(tenant=project.tenant), hours=700)
    assert going_on(officer, page_of(project, "close")) == {
        "Members of the teams": (2, ""),
        "Open allocations": (1, "500 GPU-hours left"),
    }
    assert going_on(officer, page_of(project.tenant, "close"))["Open allocations"] == (2, "1,200 GPU-hours left")


def test_a_project_of_many_shows_the_first_and_leads_to_all(officer: Client) -> None:
    tenant = make.tenant()
    for n in range(12):
        make.project(f"p-{n:02}", tenant=tenant)
    page = officer.get(page_of(tenant, "close")).content.decode()
    assert ("p-09" in page, "p-10" in page, "2 more" in page) == (True, False, True)
    assert (
        len(
            officer.get(f"{reverse('admin:centre_project_changelist')}?tenant__id__exact={tenant.pk}")
            .context["cl"]
            .result_list
        )
        == 12
    )
    assert f"tenant__id__exact={tenant.pk}" in officer.get(page_of(tenant)).content.decode()


def test_the_acts_of_tenants_have_words() -> None:
    acts = {"add_contact", "change_contact", "end_contact", "merge_into_tenant", "take_in_tenant", "move_to_tenant"}
    acts |= {
        "lead_to_other_tenant",
        *(f"{verb}_{kind}" for verb in ("suspend", "resume", "close") for kind in ("tenant", "project")),
    }
    assert acts - ACTS.keys() == set()


def test_a_tenant_of_another_category_is_counted_by_its_own(officer: Client) -> None:
    make.tenant("shop", category=TenantCategory.ENTERPRISE)
    make.tenant("school")
    assert found(officer, category="enterprise") == ["shop"]


def test_the_page_says_that_new_jobs_are_blocked_and_start_again(officer: Client) -> None:
    """As `allocations.scheduling` has it."""
    allocation = make.allocation()
    tenant, project = allocation.project.tenant, allocation.project
    pairs: list[tuple[Any, Any]] = [(project, tenants.suspend_project), (tenant, tenants.suspend_tenant)]
    for row, suspend in pairs:
        stops = officer.get(page_of(row, "suspend")).context["effects"][1]
        assert (str(stops.label), stops.after) == ("New jobs", "Blocked")
        suspend(**{str(row._meta.model_name): row}, reason="-", by=None, at=timezone.now())
        found = Allocation.objects.select_related("project__tenant").get()
        assert scheduling_of(found, on=make.today(), when_used_up="slowed").state == SchedulerState.BLOCKED
        starts = officer.get(page_of(row, "resume")).context["effects"][1]
        assert (starts.before, starts.after) == ("Blocked", "As project and allocation allow")
