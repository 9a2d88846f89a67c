"""The life of an application: only the moves of the table exist, in the verb and in the database."""

from itertools import pairwise, product

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from subsidies import applications, life_cycle
from subsidies.life_cycle import NotPossible, State
from subsidies.models import Application, ApplicationStep
from tests.subsidies import cases

MOVES = {
    ("draft", "submitted"),
    ("draft", "withdrawn"),
    ("submitted", "screening"),
    ("submitted", "withdrawn"),
    ("screening", "clarification"),
    ("screening", "under_assessment"),
    ("screening", "ineligible"),
    ("screening", "withdrawn"),
    ("clarification", "screening"),
    ("clarification", "withdrawn"),
    ("clarification", "lapsed"),
    ("under_assessment", "ready_for_committee"),
    ("under_assessment", "withdrawn"),
    ("ready_for_committee", "deferred"),
    ("ready_for_committee", "decided"),
    ("ready_for_committee", "withdrawn"),
    ("deferred", "ready_for_committee"),
    ("deferred", "withdrawn"),
    ("decided", "offered"),
    ("decided", "not_approved"),
    ("offered", "accepted"),
    ("offered", "declined"),
    ("offered", "lapsed"),
}
PAIRS = list(product(State.values, State.values))


def test_table_has_exactly_these_moves() -> None:
    assert {pair for pair in PAIRS if life_cycle.may_move(*pair)} == MOVES


def test_every_state_has_a_public_name_and_a_tone() -> None:
    assert set(life_cycle.PUBLIC_NAMES) == set(State)
    assert set(life_cycle.TONES) == set(State)
    assert set(life_cycle.TRANSITIONS) == set(State)


def test_road_to_decision_follows_the_table_from_every_undecided_state() -> None:
    for state in life_cycle.UNDECIDED:
        road = [state, *life_cycle.road_to_decision(state)]
        assert road[-1] == State.DECIDED
        assert all(life_cycle.may_move(*pair) for pair in pairwise(road))


def test_there_is_no_road_to_a_decision_from_any_other_state() -> None:
    for state in set(State) - set(life_cycle.UNDECIDED):
        with pytest.raises(NotPossible):
            life_cycle.road_to_decision(state)


@pytest.mark.django_db
def test_step_takes_every_move_of_the_table_and_no_other() -> None:
    case = cases.application()
    by, at = cases.secretary(), timezone.now()
    taken = set()
    for before, after in PAIRS:
        Application.objects.filter(pk=case.pk).update(state=before)
        case.state = before
        try:
            applications.step(application=case, to=State(after), by=by, at=at)
        except NotPossible:
            assert Application.objects.get(pk=case.pk).state == before
        else:
            taken.add((before, after))
            assert Application.objects.get(pk=case.pk).state == after
    assert taken == MOVES


@pytest.mark.django_db
def test_database_refuses_a_recorded_step_that_skips_a_state() -> None:
    case = cases.application()
    with pytest.raises(IntegrityError, match="a_step_follows_the_life_cycle"), transaction.atomic():
        ApplicationStep.objects.create(
            application=case, from_state="submitted", to_state="accepted", at=timezone.now(), by=cases.secretary()
        )


@pytest.mark.django_db
def test_step_loses_against_somebody_who_moved_the_case_first() -> None:
    case = cases.application()
    stale = Application.objects.get(pk=case.pk)
    applications.withdraw(application=case, reason="a letter", by=cases.secretary(), at=timezone.now())
    with pytest.raises(life_cycle.AlreadyDecided):
        applications.step(application=stale, to=State.SCREENING, by=cases.secretary(), at=timezone.now())
    assert Application.objects.get(pk=case.pk).state == State.WITHDRAWN


@pytest.mark.django_db
@pytest.mark.parametrize(
    "statement", ["UPDATE subsidies_applicationstep SET reason = 'x'", "DELETE FROM subsidies_applicationstep"]
)
def test_steps_are_append_only(statement: str) -> None:
    cases.application()
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
