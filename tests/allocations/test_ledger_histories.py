"""Random histories of the ledger against a small model of its own: balances are right at every commit, now and then."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from allocations.models import Allocation, LedgerEntry
from allocations.verifying import differences
from tests import make
from tests.allocations.ledger_history import LedgerHistory


@pytest.mark.django_db
def test_any_history_keeps_the_balances_of_the_model() -> None:
    run(examples=20, steps=30)


@pytest.mark.hard
@pytest.mark.django_db
def test_ten_thousand_steps_keep_the_balances_of_the_model() -> None:
    run(examples=200, steps=50)


def run(*, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        LedgerHistory,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


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
