"""Random histories of the ledger against a small model of its own: balances are right at every commit, now and then."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from allocations.models import Allocation, LedgerEntry
from allocations.posting import LedgerError
from allocations.refusals import RequestError
from allocations.verifying import differences
from tests import make
from tests.allocations.broken_acts import BROKEN, Broken, Step
from tests.allocations.period_history import PeriodHistory

NOT_AS_THE_MODEL_SAYS = (AssertionError, LedgerError, RequestError, pytest.fail.Exception)
"""Something stands otherwise, is refused without a reason, or is not refused."""
ALL_PHASES = tuple(Phase)


@pytest.mark.django_db
def test_any_history_keeps_the_balances_of_the_model() -> None:
    run(PeriodHistory, examples=20, steps=30)


@pytest.mark.hard
@pytest.mark.django_db
def test_ten_thousand_steps_keep_the_balances_of_the_model() -> None:
    run(PeriodHistory, examples=200, steps=50)


def run(machine: type[PeriodHistory], *, examples: int, steps: int, phases: tuple[Phase, ...] = ALL_PHASES) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            phases=phases,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def play(machine: type[PeriodHistory], steps: tuple[Step, ...]) -> None:
    """These steps alone, compared after each of them as in a random history."""
    history = machine()
    try:
        history.begin()
        for step in steps:
            step(history)
            history.what_is_stored_is_what_the_model_says()
        history.verify()
    finally:
        history.teardown()


@pytest.mark.django_db
@pytest.mark.parametrize("control", BROKEN, ids=lambda control: control.broken.__name__)
def test_an_act_on_a_period_that_is_wrong_in_one_way_is_caught(control: Broken) -> None:
    play(PeriodHistory, control.steps)
    with pytest.raises(NOT_AS_THE_MODEL_SAYS):
        play(control.machine, control.steps)


@pytest.mark.hard
@pytest.mark.django_db
@pytest.mark.parametrize(
    "control", {each.broken: each for each in BROKEN}.values(), ids=lambda control: control.broken.__name__
)
def test_random_histories_find_what_is_wrong_by_themselves(control: Broken) -> None:
    with pytest.raises(NOT_AS_THE_MODEL_SAYS):
        run(control.machine, examples=200, steps=50, phases=(Phase.generate,))


@pytest.mark.django_db
def test_posting_that_overlooks_a_used_key_is_caught() -> None:
    """The control: an entry written with ON CONFLICT DO NOTHING moves the total all the same."""
    allocation = make.allocation(hours=10)
    entry = LedgerEntry.objects.get(allocation=allocation)
    assert list(differences()) == []
    for _ in range(3):
        Allocation.objects.filter(pk=allocation.pk).update(granted_seconds=allocation.granted_seconds + entry.seconds)
        copy = LedgerEntry.objects.get(pk=entry.pk)
        copy.pk = None
        LedgerEntry.objects.bulk_create([copy], ignore_conflicts=True)
    assert LedgerEntry.objects.filter(allocation=allocation).count() == 1
    assert len(list(differences())) == 1
