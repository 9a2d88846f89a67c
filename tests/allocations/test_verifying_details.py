"""Controls for what no total shows: instants, reasons, what an import says of itself, how an allocation was closed."""

from datetime import timedelta

import pytest
from django.utils import timezone

from allocations.models import Allocation, RunCharge, UsageImport
from allocations.verifying import differences
from centre.models import Event
from tests.allocations.copies import copy_in_front
from tests.allocations.rich_books import rich_books
from tests.allocations.test_verifying import COPIED, after, first

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("copied")]


@pytest.fixture
def copied() -> None:
    rich_books()
    copy_in_front(*COPIED)
    assert list(differences()) == []


def test_instants_and_reasons_that_no_total_shows_are_compared() -> None:
    """What a reader of the ledger as of a past instant, or an auditor, would be told wrongly."""
    later = timezone.now() + timedelta(days=1)
    charge = RunCharge.objects.order_by("pk")[0]
    assert after(charge, recorded_at=later) == [
        f"Run charge {charge.pk}: entry {charge.entry_id} is of another allocation, day, kind or instant."
    ]
    top_up = first("top_up")
    event = Event.objects.get(object_type="allocations.allocation", changes__entry=[None, top_up.pk])
    assert after(top_up, reason="another") == [
        f"Entry {top_up.pk}: its reason is “another”, event {event.pk} says “{top_up.reason}”."
    ]


def test_what_an_import_says_of_itself_is_compared_with_its_entries() -> None:
    done = UsageImport.objects.filter(charged_gpu_seconds__gt=0).order_by("pk")[0]
    wrong = done.charged_gpu_seconds + 7
    UsageImport.objects.filter(pk=done.pk).update(charged_gpu_seconds=wrong)
    assert list(differences()) == [
        f"Import {done.pk}: it says that it charged {wrong} GPU-seconds, its entries say {wrong - 7}."
    ]


def test_a_closed_allocation_says_by_which_rule() -> None:
    opened = Allocation.objects.filter(state="open").order_by("pk")[0]
    assert after(opened, state="closed") == [
        f"Allocation {opened.reference}: it is closed, and no period end says by which rule."
    ]
