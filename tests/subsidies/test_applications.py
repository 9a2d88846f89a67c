"""Recording and mending applications, and who sees them."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from centre.models import Event
from centre.permissions import StaffRole
from subsidies import applications
from subsidies.life_cycle import NotPossible, State
from subsidies.models import Application
from tests import make
from tests.subsidies import cases

pytestmark = pytest.mark.django_db


def test_recorded_application_stands_at_submitted_with_its_step_asks_and_event() -> None:
    pool, by = make.pool(), cases.secretary()
    case = cases.application(hours={pool: 1_000}, by=by)
    assert case.state == State.SUBMITTED
    assert [(ask.pool, ask.gpu_seconds) for ask in case.asks.all()] == [(pool, 3_600_000)]
    assert [(step.from_state, step.to_state, step.by) for step in case.steps.all()] == [("draft", "submitted", by)]
    event = Event.objects.get(object_type="subsidies.application", act="record_application")
    assert event.actor == by
    assert event.changes["asks"] == [None, {pool.code: 3_600_000}]


def test_numbers_of_a_year_follow_each_other_without_gaps() -> None:
    year = (make.today() - timedelta(days=10)).year
    numbers = [cases.application().number for _ in range(3)]
    assert numbers == [f"A-{year}-001", f"A-{year}-002", f"A-{year}-003"]


def test_recording_that_fails_leaves_no_gap_in_the_numbers() -> None:
    cases.application(new_project_code="one")
    with pytest.raises(ValidationError):
        cases.application(hours={make.pool(): -1})
    assert cases.application().number.endswith("-002")


def test_application_cannot_take_the_code_of_an_existing_project() -> None:
    taken = make.project()
    with pytest.raises(ValidationError) as refused:
        cases.application(new_project_code=taken.code)
    assert list(refused.value.message_dict) == ["new_project_code"]


def test_application_for_a_project_of_another_tenant_is_refused() -> None:
    with pytest.raises(ValidationError) as refused:
        cases.application(tenant=make.tenant(), project=make.project())
    assert list(refused.value.message_dict) == ["project"]


def test_mending_changes_title_and_asks_and_records_both() -> None:
    pool, other = make.pool(), make.pool()
    case = cases.application(hours={pool: 10}, title="Before")
    by, at = cases.secretary(), timezone.now()
    applications.change_application(application=case, title="After", by=by, at=at)
    applications.change_asks(application=case, asks={other: 7_200}, by=by, at=at)
    stored = Application.objects.get(pk=case.pk)
    assert stored.title == "After"
    assert {ask.pool: ask.gpu_seconds for ask in stored.asks.all()} == {other: 7_200}
    events = Event.objects.filter(object_id=str(case.pk), act__startswith="change_").order_by("id")
    assert [event.changes for event in events] == [
        {"title": ["Before", "After"]},
        {"asks": [{pool.code: 36_000}, {other.code: 7_200}]},
    ]


def test_nothing_is_mended_once_a_decision_is_recorded() -> None:
    case = cases.application()
    cases.decision(application=case)
    with pytest.raises(NotPossible):
        applications.change_asks(application=case, asks={make.pool(): 1}, by=cases.secretary(), at=timezone.now())
    with pytest.raises(NotPossible):
        applications.withdraw(application=case, reason="x", by=cases.secretary(), at=timezone.now())


def test_ineligible_application_went_through_screening() -> None:
    case = cases.application()
    applications.mark_ineligible(application=case, reason="not for AI", by=cases.secretary(), at=timezone.now())
    assert [step.to_state for step in case.steps.all()] == ["submitted", "screening", "ineligible"]
    assert str(case.public_state) == "Not eligible"


def test_received_and_approved_count_what_they_say() -> None:
    cases.award()
    cases.decision()
    withdrawn = cases.application()
    applications.withdraw(application=withdrawn, reason="x", by=cases.secretary(), at=timezone.now())
    assert Application.objects.received().count() == 3
    assert Application.objects.approved().count() == 1


def test_lead_and_representative_see_their_application_and_strangers_do_not() -> None:
    case, other = cases.application(), cases.application()
    assert case.lead is not None
    signatory = make.representative(tenant=case.tenant)

    def seen(user: object) -> set[str]:
        return set(Application.objects.visible_to(user).values_list("number", flat=True))  # type: ignore[arg-type]

    assert seen(case.lead) == {case.number}
    assert seen(signatory) == {case.number}
    assert seen(make.person()) == set()
    assert seen(make.staff(StaffRole.COMMITTEE_MEMBER)) == set()
    assert seen(make.staff(StaffRole.ADMINISTRATOR)) == set()
    assert seen(make.staff(StaffRole.AUDITOR)) == {case.number, other.number}
