"""How officers answer what teams asked: who may, in words, in part, and as an act of their own."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from allocations import requests
from allocations.models import Allocation, ChangeRequest
from allocations.verifying import differences
from centre.models import User
from centre.permissions import ProjectRole, StaffRole
from tests import make

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
Kind = ChangeRequest.Kind
State = ChangeRequest.State
WHY_A_PART = "Say in the answer why only a part is approved; the person who asked reads it."


def asked(kind: ChangeRequest.Kind, **said: Any) -> ChangeRequest:
    project = said.pop("project", None) or said["allocation"].project
    lead = make.member(project=project, role=ProjectRole.LEAD)
    return requests.ask(project=project, kind=kind, reason="because", by=lead, at=timezone.now(), **said)


def path_of(row: ChangeRequest, act: str = "approve") -> str:
    return f"/admin/allocations/changerequest/{row.pk}/{act}/"


def test_requests_about_people_are_answered_by_tenant_officers_too_and_others_are_not(client: Client) -> None:
    allocation = make.allocation()
    rows = [
        asked(Kind.MEMBERS, project=allocation.project),
        asked(Kind.OTHER, project=allocation.project),
        asked(Kind.TOP_UP, allocation=allocation, seconds=make.HOUR),
    ]

    def answers(user: User) -> list[int]:
        client.force_login(user)
        return [client.get(path_of(row, act)).status_code for row in rows for act in ("approve", "decline")]

    assert answers(make.staff(StaffRole.ALLOCATION_OFFICER)) == [200] * 6
    assert answers(make.staff(StaffRole.TENANT_OFFICER)) == [200, 200, 403, 403, 403, 403]
    assert answers(make.staff(StaffRole.AUDITOR)) == [403] * 6
    officer = make.staff(StaffRole.TENANT_OFFICER)
    client.force_login(officer)
    desk = client.get("/desk/").content.decode()
    assert path_of(rows[0]) in desk
    assert path_of(rows[2]) not in desk
    assert client.post(path_of(rows[0]), {"answer": " "}).status_code == 200
    assert client.post(path_of(rows[0]), {"answer": "Both were added."}).status_code == 302
    rows[0].refresh_from_db()
    assert (rows[0].state, rows[0].answer, rows[0].answered_by) == (State.APPROVED, "Both were added.", officer)
    assert list(differences()) == []


def test_an_officer_of_the_team_does_not_answer_for_it() -> None:
    row = asked(Kind.MEMBERS, project=make.project())
    officer = make.staff(StaffRole.TENANT_OFFICER)
    make.member(project=row.project, user=officer)
    with pytest.raises(requests.BenefitsFromIt):
        requests.approve(request=row, by=officer, at=timezone.now(), answer="done")
    with pytest.raises(requests.OwnRequest):
        requests.decline(request=row, by=row.asked_by, at=timezone.now(), answer="no")


def test_a_longer_period_is_given_in_part_after_a_look_at_what_changes(client: Client) -> None:
    allocation = make.allocation(end_on=make.today() + 10 * DAY)
    row = asked(Kind.EXTENSION, allocation=allocation, until_on=make.today() + 60 * DAY)
    client.force_login(make.staff(StaffRole.ALLOCATION_OFFICER))
    earlier = make.today() + 30 * DAY
    said = {"until_on": earlier.isoformat(), "answer": "The pool is full then."}
    page = client.post(path_of(row), said)
    assert page.status_code == 200
    assert "Approve until this day" in page.content.decode()
    assert Allocation.objects.get().end_on == make.today() + 10 * DAY
    assert client.post(path_of(row), {**said, "act_step": "confirmed"}).status_code == 302
    row.refresh_from_db()
    assert (row.state, row.approved_until_on, Allocation.objects.get().end_on) == (
        *(State.PART_APPROVED, earlier),
        earlier,
    )


def test_a_part_without_a_word_of_why_is_refused_on_the_first_page(client: Client) -> None:
    allocation = make.allocation(end_on=make.today() + 10 * DAY)
    longer = asked(Kind.EXTENSION, allocation=allocation, until_on=make.today() + 60 * DAY)
    more = asked(Kind.TOP_UP, allocation=allocation, seconds=12_000 * make.HOUR)
    client.force_login(make.staff(StaffRole.ALLOCATION_OFFICER))
    parts = ((longer, "until_on", (make.today() + 30 * DAY).isoformat()), (more, "seconds", "6,000"))
    for row, name, part in parts:
        page = client.post(path_of(row), {name: part, "answer": " "})
        assert page.context["form"].errors == {"answer": [WHY_A_PART]}
        assert f'value="{part}"' in page.content.decode()
        assert "act_step" not in page.content.decode()
        page = client.post(path_of(row), {name: part, "answer": "As much as there is."})
        assert 'name="act_step" value="confirmed"' in page.content.decode()
    assert client.post(path_of(more), {"seconds": "12,000", "answer": ""}).status_code == 302
    assert ChangeRequest.objects.get(pk=more.pk).state == State.APPROVED


def test_an_officer_proposes_a_longer_period_and_another_approves_it(client: Client) -> None:
    allocation = make.allocation(end_on=make.today() + 10 * DAY)
    first, second = make.staff(StaffRole.ALLOCATION_OFFICER), make.staff(StaffRole.ALLOCATION_OFFICER)
    path = f"/admin/allocations/allocation/{allocation.pk}/extend/"
    client.force_login(first)
    until_on = make.today() + 40 * DAY
    said = {"until_on": until_on.isoformat(), "reason": "The award was prolonged.", "act_key": "0" * 32}
    assert "Send for approval" in client.post(path, said).content.decode()
    for _ in range(2):
        assert client.post(path, {**said, "act_step": "confirmed"}).status_code == 302
    row = ChangeRequest.objects.get()
    assert (row.kind, row.state, row.asked_by) == ("extension", State.ASKED, first)
    wrong = client.post(path, {**said, "until_on": make.today().isoformat(), "act_key": "1" * 32})
    assert "Choose a later day." in wrong.content.decode()
    client.force_login(second)
    assert client.post(path_of(row), {"until_on": until_on.isoformat(), "answer": ""}).status_code == 302
    assert Allocation.objects.get().end_on == until_on
    assert list(differences()) == []
