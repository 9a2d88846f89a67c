"""Letters about GPU time: who is owed one, that each gets it once, and what it says."""

import pytest
from django.utils import timezone

from allocations import notices
from allocations.models import Notice, NoticeOptOut
from centre.permissions import ProjectRole
from tests import make

pytestmark = pytest.mark.django_db
Kind = Notice.Kind


def test_letter_is_owed_to_leads_and_managers_once() -> None:
    allocation = make.allocation()
    lead = make.member(project=allocation.project, role=ProjectRole.LEAD)
    manager = make.member(project=allocation.project, role=ProjectRole.MANAGER)
    make.member(project=allocation.project)
    make.member(project=allocation.project, role=ProjectRole.VIEWER)
    make.representative(tenant=allocation.project.tenant)
    closed_account = make.member(project=allocation.project, role=ProjectRole.LEAD)
    closed_account.is_active = False
    closed_account.save()
    at = timezone.now()

    for _again in range(2):
        notices.owe(allocation=allocation, kind=Kind.USED_SHARE, threshold=75, at=at)

    owed = Notice.objects.order_by("user").values_list("allocation", "user", "kind", "threshold", "due_at")
    assert list(owed) == [(allocation.pk, person.pk, "used_share", 75, at) for person in (lead, manager)]


def test_taking_back_is_told_to_representatives_of_that_tenant_too() -> None:
    allocation = make.allocation()
    lead = make.member(project=allocation.project, role=ProjectRole.LEAD)
    signs = make.representative(tenant=allocation.project.tenant)
    make.project(tenant=allocation.project.tenant, lead=make.person())
    make.representative(tenant=make.tenant())

    notices.owe(allocation=allocation, kind=Kind.TAKE_BACK_WARNED, at=timezone.now())

    assert sorted(Notice.objects.values_list("user", flat=True)) == [lead.pk, signs.pk]


def test_declined_letter_is_not_owed() -> None:
    allocation = make.allocation()
    lead = make.member(project=allocation.project, role=ProjectRole.LEAD)
    NoticeOptOut.objects.create(user=lead, kind=Kind.DAYS_LEFT, since=timezone.now())

    for kind in Kind:
        notices.owe(allocation=allocation, kind=kind, at=timezone.now())

    kinds = Notice.objects.order_by("pk").values_list("kind", flat=True)
    assert list(kinds) == ["used_share", "take_back_warned", "taken_back"]
