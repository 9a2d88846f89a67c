"""Uploads that are withdrawn: nothing more of them gets into the books, and they wait for nobody."""

import re
from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from allocations.models import Allocation, OnboardingUpload
from allocations.onboard.applying import apply
from allocations.onboard.preview import Withdrawn
from allocations.onboard.withdrawing import NothingLeft, withdraw
from centre.models import Event, Tenant, User
from centre.permissions import StaffRole
from tests import make
from tests.allocations.uploads import applied, handed_over, looked_at, officer, page

pytestmark = pytest.mark.django_db

R = StaffRole
GOOD = "h,Harbour,,,university\n"
WRONG = "x,X,,,club\n"


def withdrawn(upload: OnboardingUpload, by: User) -> OnboardingUpload:
    return withdraw(upload=upload, reason="The wrong file.", by=by, at=timezone.now())


def test_nothing_of_a_withdrawn_upload_can_be_applied_or_compared_again() -> None:
    by, other = officer(), officer()
    upload = handed_over(by, tenants=GOOD)
    row = withdrawn(upload, other)
    assert (row.withdrawn_by, row.withdrawn_at is not None) == (other, True)
    for act in (applied, looked_at, withdrawn):
        with pytest.raises(Withdrawn, match=re.escape(other.get_full_name())):
            act(upload, by)
    assert not Tenant.objects.exists()
    event = Event.objects.filter(act="withdraw_upload").get()
    assert (event.actor, event.reason) == (other, "The wrong file.")


def test_what_was_applied_before_stays_and_its_form_still_shows_the_first_result() -> None:
    by = officer()
    upload = handed_over(by, tenants=GOOD + WRONG)
    key, digest = uuid4().hex, upload.digest
    step = applied(upload, by, key=key)
    withdrawn(upload, by)
    assert apply(upload=upload, digest=digest, key=key, by=by, at=timezone.now()) == (step, False)
    assert list(Tenant.objects.values_list("code", flat=True)) == ["h"]


def test_what_is_in_the_books_whole_has_nothing_left_to_withdraw() -> None:
    by = officer()
    upload = handed_over(by, tenants=GOOD)
    applied(upload, by)
    with pytest.raises(NothingLeft):
        withdrawn(upload, by)
    upload.refresh_from_db()
    assert upload.withdrawn_at is None


def test_database_keeps_who_withdrew_it() -> None:
    upload = handed_over(officer(), tenants=GOOD)
    with pytest.raises(IntegrityError, match="a_withdrawn_upload_says_by_whom"), transaction.atomic():
        OnboardingUpload.objects.filter(pk=upload.pk).update(withdrawn_at=timezone.now())


@pytest.mark.page
def test_officer_withdraws_with_a_reason_and_the_page_says_so(client: Client) -> None:
    by = officer()
    client.force_login(by)
    upload = handed_over(by, tenants=GOOD + WRONG)
    assert page(upload, "withdraw") in client.get(page(upload)).content.decode()
    asked = client.get(page(upload, "withdraw")).content.decode()
    assert "tenants.csv: 1 new, 1 wrong" in asked
    assert "This field is required" in client.post(page(upload, "withdraw"), {"reason": ""}).content.decode()
    done = client.post(page(upload, "withdraw"), {"reason": "<b>Old</b> file."}, follow=True)
    assert [str(each) for each in done.context["messages"]] == [
        "The upload was withdrawn. Nothing more of it can be applied."
    ]
    told = done.content.decode()
    assert f"{by.get_full_name()} withdrew this upload on" in told
    assert [
        url for url in (page(upload, "apply"), page(upload, "look_again"), page(upload, "withdraw")) if url in told
    ] == []
    again = client.post(page(upload, "withdraw"), {"reason": "Once more."})
    assert "withdrew this upload. Hand the files over again" in again.content.decode()
    history = client.get(page(upload, "history")).content.decode()
    assert "Spreadsheet upload withdrawn" in history
    assert "&lt;b&gt;Old&lt;/b&gt; file." in history
    listed = client.get(reverse("admin:allocations_onboardingupload_changelist")).content.decode()
    assert f"Withdrawn: {by.get_full_name()}, " in listed


@pytest.mark.page
def test_page_sent_before_it_was_withdrawn_applies_nothing(client: Client) -> None:
    by = officer()
    client.force_login(by)
    upload = handed_over(by, tenants=GOOD)
    shown = client.get(page(upload)).content.decode()
    given = dict(re.findall(r'name="(act_key|preview)" value="([^"]*)"', shown))
    withdrawn(upload, officer())
    done = client.post(page(upload, "apply"), given, follow=True)
    assert ["withdrew this upload" in str(each) for each in done.context["messages"]] == [True]
    assert not Tenant.objects.exists()


@pytest.mark.page
def test_balances_that_are_withdrawn_wait_on_no_desk(client: Client) -> None:
    make.project("p", tenant=make.tenant("t"))
    make.pool("q", cluster=make.cluster("hgx"))
    by, other = officer(R.ALLOCATION_OFFICER), officer(R.ALLOCATION_OFFICER)
    upload = handed_over(by, allocations="p,q,2026-01-01,2026-12-31,10,A,,\n")
    client.force_login(other)
    assert "Apply opening balances of" in client.get(reverse("desk")).content.decode()
    client.post(page(upload, "withdraw"), {"reason": "Not ours."})
    assert "Apply opening balances of" not in client.get(reverse("desk")).content.decode()
    assert not Allocation.objects.exists()
