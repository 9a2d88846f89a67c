"""Tenants and projects: registered once, moved along their table, never deleted."""

import pytest
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.utils import timezone

from centre import tenants
from centre.models import Event, Membership, Project, Tenant
from centre.models.tenants import Standing, TenantCategory
from centre.permissions import ProjectRole, StaffRole
from tests import make

pytestmark = pytest.mark.django_db


def trail(row: Model) -> list[tuple[str, str, object]]:
    """What was done to the row, why, and what it changed."""
    events = Event.objects.filter(object_type=row._meta.label_lower, object_id=str(row.pk))
    return list(events.order_by("id").values_list("act", "reason", "changes"))


def test_register_tenant_writes_the_row_and_who_did_it() -> None:
    officer, at = make.staff(StaffRole.TENANT_OFFICER), timezone.now()
    tenant = tenants.register_tenant(
        code="harbour-u", name_en="Harbour University", category=TenantCategory.UNIVERSITY, by=officer, at=at
    )
    assert Tenant.objects.get() == tenant
    event = Event.objects.get(act="register_tenant")
    assert (event.act, event.actor, event.at, event.object_id) == ("register_tenant", officer, at, str(tenant.pk))
    assert event.changes == {"code": "harbour-u", "name": "Harbour University", "category": "university"}


def test_register_tenant_refuses_a_code_that_is_taken() -> None:
    standing = make.tenant("harbour-u")
    with pytest.raises(tenants.CodeTaken):
        tenants.register_tenant(
            code="harbour-u", name_en="Another", category=TenantCategory.ENTERPRISE, by=None, at=timezone.now()
        )
    assert Tenant.objects.get() == standing
    assert Event.objects.filter(act="register_tenant").count() == 1


def test_register_tenant_refuses_a_code_that_is_no_code() -> None:
    with pytest.raises(ValidationError):
        tenants.register_tenant(
            code="Harbour U", name_en="Harbour", category=TenantCategory.ENTERPRISE, by=None, at=timezone.now()
        )
    assert Tenant.objects.count() == 0


def test_change_tenant_records_only_what_differs() -> None:
    tenant = make.tenant("harbour-u", name_en="Harbor", name_zh_hant="海港大學")
    tenants.change_tenant(tenant=tenant, name_en="Harbour", name_zh_hant="海港大學", by=None, at=timezone.now())
    tenants.change_tenant(tenant=tenant, name_en="Harbour", by=None, at=timezone.now())
    assert trail(tenant)[1:] == [("change_tenant", "", {"name_en": ["Harbor", "Harbour"]})]
    assert Tenant.objects.get().name_en == "Harbour"


def test_register_project_makes_its_lead_a_member() -> None:
    tenant, lead, at = make.tenant(), make.person(), timezone.now()
    project = tenants.register_project(tenant=tenant, code="llm", title="Models", lead=lead, by=None, at=at)
    membership = Membership.objects.get()
    assert (membership.project, membership.user, membership.role) == (project, lead, ProjectRole.LEAD)
    assert [act for act, _reason, _changes in trail(project)] == ["register_project"]
    assert trail(membership) == [("add_member", "", {"project": "llm", "person": lead.email, "role": "lead"})]


@pytest.mark.parametrize("standing", [Standing.SUSPENDED, Standing.CLOSED])
def test_register_project_needs_an_active_tenant(standing: Standing) -> None:
    tenant = make.tenant()
    Tenant.objects.update(standing=standing)
    tenant.refresh_from_db()
    with pytest.raises(tenants.TenantNotActive):
        tenants.register_project(tenant=tenant, code="llm", title="Models", by=None, at=timezone.now())
    assert Project.objects.count() == 0


def test_project_is_suspended_once_and_resumed() -> None:
    project, at = make.project("llm"), timezone.now()
    also_seen = Project.objects.get(pk=project.pk)
    tenants.suspend_project(project=project, reason="fees", by=None, at=at)
    with pytest.raises(tenants.AlreadyMoved):
        tenants.suspend_project(project=also_seen, reason="fees", by=None, at=at)
    tenants.resume_project(project=project, reason="paid", by=None, at=at)
    assert Project.objects.get().standing == Standing.ACTIVE
    assert trail(project)[1:] == [
        ("suspend_project", "fees", {"standing": ["active", "suspended"]}),
        ("resume_project", "paid", {"standing": ["suspended", "active"]}),
    ]


def test_closed_project_stays_closed() -> None:
    project, at = make.project(), timezone.now()
    tenants.close_project(project=project, reason="over", by=None, at=at)
    for verb in (tenants.suspend_project, tenants.resume_project, tenants.close_project):
        with pytest.raises(tenants.AlreadyMoved):
            verb(project=project, reason="", by=None, at=at)
    assert Project.objects.get().standing == Standing.CLOSED


def test_project_of_a_suspended_tenant_does_not_resume() -> None:
    project, at = make.project(), timezone.now()
    tenants.suspend_project(project=project, reason="", by=None, at=at)
    tenants.suspend_tenant(tenant=project.tenant, reason="", by=None, at=at)
    with pytest.raises(tenants.TenantNotActive):
        tenants.resume_project(project=project, reason="", by=None, at=at)
    tenants.resume_tenant(tenant=project.tenant, reason="", by=None, at=at)
    tenants.resume_project(project=project, reason="", by=None, at=at)
    assert Project.objects.get().standing == Standing.ACTIVE


def test_tenant_is_closed_only_after_its_projects() -> None:
    project, at = make.project("llm"), timezone.now()
    tenant = project.tenant
    with pytest.raises(tenants.ProjectsStillOpen, match="llm"):
        tenants.close_tenant(tenant=tenant, reason="", by=None, at=at)
    tenants.close_project(project=project, reason="", by=None, at=at)
    tenants.close_tenant(tenant=tenant, reason="", by=None, at=at)
    assert Tenant.objects.get().standing == Standing.CLOSED
