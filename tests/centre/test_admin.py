"""The admin of people, tenants and machines: who sees what, at what cost, and that every save leaves a trace."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from centre import appointments, permissions
from centre.models import Appointment, Centre, Event, GpuPool, ListPrice, Membership, Project, Tenant, User
from centre.models.tenants import Standing
from centre.permissions import ProjectRole, StaffRole
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.page]

R = StaffRole
SENSITIVE = {
    "centre.appointment": {R.AUDITOR, R.ADMINISTRATOR},
    "centre.event": {R.AUDITOR, R.ADMINISTRATOR},
    "centre.user": {R.TENANT_OFFICER, R.ALLOCATION_OFFICER, R.SUBSIDY_SECRETARY, R.FINANCE_OFFICER, R.MANAGEMENT}
    | {R.AUDITOR, R.ADMINISTRATOR},
    "allocations.ledgerentry": {R.TENANT_OFFICER, R.ALLOCATION_OFFICER, R.SUBSIDY_SECRETARY, R.FINANCE_OFFICER}
    | {R.MANAGEMENT, R.AUDITOR},
    "allocations.jobrun": {R.TENANT_OFFICER, R.ALLOCATION_OFFICER, R.AUDITOR, R.ADMINISTRATOR},
}


def list_url(label: str) -> str:
    return reverse(f"admin:{label.replace('.', '_')}_changelist")


def act_url(row: Any, act: str) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{act}", args=[row.pk])


def signed_in(client: Client, role: StaffRole) -> User:
    user = make.staff(role)
    client.force_login(user)
    return user


def queries_of(client: Client, url: str) -> tuple[int, str]:
    """How many queries a page takes, and the page. One visit before fills what the process keeps (content types)."""
    client.get(url)
    with CaptureQueriesContext(connection) as queries:
        response = client.get(url)
    assert response.status_code == 200
    return len(queries), response.content.decode()


def send(client: Client, url: str, **given: Any) -> Any:
    """Fill in and send the form of a page as a browser would: rows that are only shown below it are not sent back."""
    shown = client.get(url).context["inline_admin_formsets"]
    below = {f"{inline.formset.prefix}-{count}_FORMS": 0 for inline in shown for count in ("TOTAL", "INITIAL")}
    return client.post(url, below | given)


@pytest.mark.parametrize("role", list(StaffRole))
def test_each_role_opens_exactly_the_lists_that_the_policy_lets_it_view(role: StaffRole, client: Client) -> None:
    signed_in(client, role)
    index = client.get(reverse("admin:index")).content.decode()
    for model in admin.site._registry:
        label = model._meta.label_lower
        allowed = label in permissions.LOOKS[role].split()
        assert client.get(list_url(label)).status_code == (200 if allowed else 403), label
        assert (f'href="{list_url(label)}"' in index) is allowed, label


@pytest.mark.parametrize("label", list(SENSITIVE))
def test_sensitive_lists_open_for_the_roles_written_here(label: str, client: Client) -> None:
    opened = set()
    for role in StaffRole:
        signed_in(client, role)
        if client.get(list_url(label)).status_code == 200:
            opened.add(role)
    assert opened == SENSITIVE[label]


LISTS: list[tuple[str, int, Callable[[str], object]]] = [
    ("centre.tenant", 6, lambda word: make.tenant(name_en=word)),
    ("centre.project", 6, lambda word: make.project(title=word)),
    ("centre.membership", 6, lambda word: make.member(project=make.project(word.lower()))),
    ("centre.representative", 6, lambda word: make.representative(tenant=make.tenant(name_en=word))),
    ("centre.user", 7, lambda word: make.person(name=word)),
    ("centre.site", 6, lambda word: make.site(name_en=word)),
    ("centre.cluster", 7, make.cluster),
    ("centre.gpupool", 8, lambda word: make.pool(gpu_model=word)),
    (
        "centre.outage",
        7,
        lambda word: make.outage(
            pool=make.pool(word), gpus=1, starts_at=timezone.now(), ends_at=timezone.now() + timedelta(hours=1)
        ),
    ),
    ("centre.appointment", 6, lambda word: make.staff(R.MANAGEMENT, name=word)),
]


@pytest.mark.parametrize(("label", "expected", "build"), LISTS)
def test_a_list_costs_the_same_for_one_row_and_three(
    label: str, expected: int, build: Callable[[str], object], client: Client
) -> None:
    signed_in(client, R.AUDITOR)
    build("alpha")
    one, page = queries_of(client, list_url(label))
    assert "alpha" in page
    build("beta")
    build("gamma")
    three, page = queries_of(client, list_url(label))
    assert [word for word in ("alpha", "beta", "gamma") if word in page] == ["alpha", "beta", "gamma"]
    assert (one, three) == (expected, expected)


def test_the_add_project_form_costs_the_same_however_many_tenants_there_are(client: Client) -> None:
    signed_in(client, R.TENANT_OFFICER)
    make.tenant(name_en="Alpha")
    one, page = queries_of(client, reverse("admin:centre_project_add"))
    make.tenant()
    make.tenant()
    three, page = queries_of(client, reverse("admin:centre_project_add"))
    assert one == three
    assert "Alpha" not in page  # the tenant is found by typing, not out of a list of all


def test_a_tenant_is_registered_through_its_verb_and_recorded(client: Client) -> None:
    officer = signed_in(client, R.TENANT_OFFICER)
    given = {"code": "harbour-u", "name_en": "Harbour University", "category": "university"}
    response = client.post(reverse("admin:centre_tenant_add"), given)
    tenant = Tenant.objects.get()
    assert response.status_code == 302
    assert (tenant.code, tenant.name_en, tenant.standing) == ("harbour-u", "Harbour University", Standing.ACTIVE)
    event = Event.objects.get(act="register_tenant")
    assert (event.act, event.actor, event.object_id) == ("register_tenant", officer, str(tenant.pk))


def test_a_changed_name_is_recorded_from_and_to_and_shown_as_history(client: Client) -> None:
    signed_in(client, R.TENANT_OFFICER)
    tenant = make.tenant(name_en="Old name")
    page = reverse("admin:centre_tenant_change", args=[tenant.pk])
    send(client, page, name_en="New name", category=tenant.category)
    assert [event.changes for event in Event.objects.filter(act="change_tenant")] == [
        {"name_en": ["Old name", "New name"]}
    ]
    history = client.get(reverse("admin:centre_tenant_history", args=[tenant.pk])).content.decode()
    assert "Name in English: Old name → New name" in history


def test_a_save_without_a_verb_is_recorded_too(client: Client) -> None:
    administrator = signed_in(client, R.ADMINISTRATOR)
    site = make.site("cyberport", name_en="Cyberport")
    client.post(reverse("admin:centre_site_change", args=[site.pk]), {"code": "cyberport", "name_en": "Cyberport 1"})
    event = Event.objects.get(act="change_site")
    assert (event.actor, event.changes) == (administrator, {"name_en": ["Cyberport", "Cyberport 1"]})


def test_a_mended_capacity_is_recorded_and_its_day_stays(client: Client) -> None:
    signed_in(client, R.ADMINISTRATOR)
    pool = make.pool(gpus=64)
    row = pool.capacities.get()
    response = send(
        client,
        reverse("admin:centre_gpupool_change", args=[pool.pk]),
        **{
            "gpu_model": pool.gpu_model,
            "capacities-TOTAL_FORMS": 1,
            "capacities-INITIAL_FORMS": 1,
            "capacities-0-id": row.pk,
            "capacities-0-pool": pool.pk,
            "capacities-0-from_on": "2000-01-01",
            "capacities-0-gpus": 32,
            "capacities-0-note": "As delivered",
        },
    )
    assert response.status_code == 302
    mended = pool.capacities.get()
    assert (mended.gpus, mended.from_on, mended.note) == (64, row.from_on, "As delivered")
    assert [list(event.changes) for event in Event.objects.filter(act="change_capacity")] == [["note"]]


def test_a_project_is_suspended_on_a_page_that_says_so_first(client: Client) -> None:
    signed_in(client, R.TENANT_OFFICER)
    project = make.project()
    url = act_url(project, "suspend")
    assert client.get(url).status_code == 200
    assert Project.objects.get().standing == Standing.ACTIVE  # looking changes nothing
    client.post(url, {"reason": "Agreement ended"})
    assert Project.objects.get().standing == Standing.SUSPENDED
    refused = client.post(url, {"reason": "Again"})
    assert "does not stand there any more" in refused.content.decode()


def test_a_member_added_by_address_is_invited_and_can_be_removed(
    client: Client, django_capture_on_commit_callbacks: Any
) -> None:
    signed_in(client, R.TENANT_OFFICER)
    project = make.project()
    make.member(project=project, role=ProjectRole.LEAD)
    with django_capture_on_commit_callbacks(execute=True):
        client.post(act_url(project, "add_member"), {"email": "New@example.org", "name": "New", "role": "member"})
    added = Membership.objects.get(user__email="new@example.org")
    assert [letter.to for letter in mail.outbox] == [["new@example.org"]]
    client.post(act_url(added, "remove"))
    assert Membership.objects.get(pk=added.pk).ended_at is not None


def test_the_only_lead_cannot_be_removed_and_the_page_says_why(client: Client) -> None:
    signed_in(client, R.TENANT_OFFICER)
    project = make.project()
    lead = make.member(project=project, role=ProjectRole.LEAD)
    response = client.post(act_url(lead.memberships.get(), "remove"))
    assert "only lead" in response.content.decode()
    assert lead.memberships.get().ended_at is None


def test_an_appointment_takes_two_administrators(client: Client) -> None:
    asking = signed_in(client, R.ADMINISTRATOR)
    person = make.person()
    given = {"user": person.pk, "role": R.FINANCE_OFFICER, "from_on": make.today().isoformat(), "reason": "New post"}
    client.post(reverse("admin:centre_appointment_add"), given)
    asked = Appointment.objects.get(user=person)
    assert (asked.asked_by, asked.approved_at) == (asking, None)
    page = reverse("admin:centre_appointment_change", args=[asked.pk])
    assert "../approve/" not in client.get(page).content.decode()
    assert "nobody approves what they asked for" in client.post(act_url(asked, "approve")).content.decode()
    approving = signed_in(client, R.ADMINISTRATOR)
    assert "../approve/" in client.get(page).content.decode()
    client.post(act_url(asked, "approve"))
    assert Appointment.objects.get(user=person).approved_by == approving


def test_nobody_approves_their_own_appointment(client: Client) -> None:
    asking = make.staff(R.ADMINISTRATOR)
    concerned = signed_in(client, R.ADMINISTRATOR)
    asked = appointments.ask(
        user=concerned, role=R.ALLOCATION_OFFICER, from_on=make.today(), reason="-", by=asking, at=timezone.now()
    )
    page = reverse("admin:centre_appointment_change", args=[asked.pk])
    assert "../approve/" not in client.get(page).content.decode()
    client.post(act_url(asked, "approve"))
    assert Appointment.objects.get(pk=asked.pk).approved_at is None


def test_an_officer_cannot_take_over_the_account_of_staff(client: Client) -> None:
    """Whoever changed an administrator's address could have the password reset sent to it."""
    signed_in(client, R.TENANT_OFFICER)
    administrator = make.staff(R.ADMINISTRATOR, "chief@example.org")
    page = reverse("admin:centre_user_change", args=[administrator.pk])
    assert client.post(page, {"email": "mine@example.org", "name": "-", "language": "en"}).status_code == 403
    signed_in(client, R.ADMINISTRATOR)
    send(client, page, email="mine@example.org", name="Chief", language="en", is_active="on")
    changed = User.objects.get(pk=administrator.pk)
    assert (changed.email, changed.name) == ("chief@example.org", "Chief")


def test_the_address_of_somebody_who_never_signed_in_can_be_corrected(client: Client) -> None:
    signed_in(client, R.TENANT_OFFICER)
    client.post(reverse("admin:centre_user_add"), {"email": "tpyo@example.org", "name": "Typo", "language": "en"})
    person = User.objects.get(email="tpyo@example.org")
    assert not person.has_usable_password()
    page = reverse("admin:centre_user_change", args=[person.pk])
    send(client, page, email="typo@example.org", name="Typo", language="en", is_active="on")
    assert User.objects.get(pk=person.pk).email == "typo@example.org"


def test_first_sign_in_links_go_to_the_chosen_people_after_a_page_that_names_them(
    client: Client, django_capture_on_commit_callbacks: Any
) -> None:
    signed_in(client, R.TENANT_OFFICER)
    waiting = User.objects.create(email="waiting@example.org", password="!")
    known = make.person("known@example.org")
    chosen = {"action": "send_links", "_selected_action": [waiting.pk, known.pk]}
    page = client.post(list_url("centre.user"), chosen).content.decode()
    assert ("<li>waiting@example.org</li>" in page, "<li>known@example.org</li>" in page) == (True, False)
    assert mail.outbox == []
    with django_capture_on_commit_callbacks(execute=True):
        client.post(list_url("centre.user"), chosen | {"confirmed": "yes"})
    assert [letter.to for letter in mail.outbox] == [["waiting@example.org"]]


def test_a_price_is_followed_by_another_and_never_rewritten(client: Client) -> None:
    signed_in(client, R.FINANCE_OFFICER)
    pool = make.pool(price=1_000)
    given = {"from_on": make.today().isoformat(), "cents": "12.50", "reason": "Agreed", "act_step": "confirmed"}
    client.post(act_url(pool, "set_price"), given)
    refused = client.post(act_url(pool, "set_price"), given | {"cents": "13"}).content.decode()
    assert "never rewritten" in refused
    assert list(ListPrice.objects.order_by("from_on").values_list("cents_per_gpu_hour", flat=True)) == [1_000, 1_250]
    assert Event.objects.filter(act="set_price").latest("id").reason == "Agreed"


def test_only_one_centre_can_be_made_and_its_threshold_is_only_shown(client: Client) -> None:
    signed_in(client, R.ADMINISTRATOR)
    given = {"name_en": "Harbour Centre", "when_used_up": "slowed", "two_person_above_seconds": 10**9}
    assert client.post(reverse("admin:centre_centre_add"), given).status_code == 302
    assert [(row.pk, row.name_en, row.two_person_above_seconds) for row in Centre.objects.all()] == [
        (1, "Harbour Centre", 0)
    ]
    assert client.get(reverse("admin:centre_centre_add")).status_code == 403


def test_nothing_can_be_deleted_in_the_admin(client: Client) -> None:
    for role in StaffRole:
        user = signed_in(client, role)
        request = client.get(reverse("admin:jsi18n")).wsgi_request
        request.user = user
        for model, page in admin.site._registry.items():
            assert not page.has_delete_permission(request), model
            assert "delete_selected" not in page.get_actions(request), model


def test_hostile_names_are_shown_as_text(client: Client) -> None:
    signed_in(client, R.AUDITOR)
    make.project(title="<script>alert(1)</script>")
    page = client.get(list_url("centre.project")).content.decode()
    assert ("<script>alert(1)" in page, "&lt;script&gt;alert(1)" in page) == (False, True)


def test_every_page_of_every_row_opens_for_the_auditor(client: Client) -> None:
    signed_in(client, R.AUDITOR)
    project = make.project()
    make.representative(tenant=project.tenant)
    make.member(project=project)
    make.allocation(project=project)
    assert GpuPool.objects.exists()
    for model in admin.site._registry:
        row = model._default_manager.first()
        if row is None:
            continue
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        for page in ("change", "history"):
            assert client.get(reverse(f"{name}_{page}", args=[row.pk])).status_code == 200, (name, page)


@pytest.mark.parametrize("role", list(StaffRole))
def test_every_add_page_opens_for_those_who_may_add(role: StaffRole, client: Client) -> None:
    user = signed_in(client, role)
    request = client.get(reverse("admin:jsi18n")).wsgi_request
    request.user = user
    for model, page in admin.site._registry.items():
        url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")
        expected = 200 if page.has_add_permission(request) else 403
        assert client.get(url).status_code == expected, url
