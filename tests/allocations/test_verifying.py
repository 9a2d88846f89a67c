"""A control for each check of the checker: a copy of the books is broken in that way, and the sentence compared."""

from collections.abc import Iterable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import Model
from django.utils import timezone

from allocations import movements
from allocations.closing import close_periods
from allocations.models import (
    Allocation,
    ChangeRequest,
    DailyUsage,
    LedgerEntry,
    PeriodEnd,
    RunCharge,
    RunRefund,
)
from allocations.verifying import differences
from centre.models import Centre, Event
from tests import make
from tests.allocations.copies import changed, copy_in_front
from tests.allocations.rich_books import ALONE, HOUR, RichBooks, closed_period, rich_books

pytestmark = pytest.mark.django_db

COPIED: tuple[type[Model], ...] = (
    *(Allocation, LedgerEntry, RunCharge, RunRefund, DailyUsage, ChangeRequest, PeriodEnd, Event),
)


@pytest.fixture
def books() -> RichBooks:
    made = rich_books()
    copy_in_front(*COPIED)
    assert list(differences()) == []
    return made


def after(row: Model, **values: Any) -> list[str]:
    """What the checker says when these columns of a row say something else."""
    columns = ", ".join(f"{column} = %s" for column in values)
    with changed(f'UPDATE "{row._meta.db_table}" SET {columns} WHERE id = %s', *values.values(), row.pk):
        return list(differences())


def after_removing(row: Model) -> list[str]:
    with changed(f'DELETE FROM "{row._meta.db_table}" WHERE id = %s', row.pk):
        return list(differences())


def first(kind: str, **which: Any) -> LedgerEntry:
    """The first entry of a kind."""
    return LedgerEntry.objects.filter(kind=kind, **which).order_by("pk")[0]


def event_of(entry: LedgerEntry) -> Event:
    return Event.objects.get(
        object_type="allocations.allocation", object_id=str(entry.allocation_id), changes__entry=[None, entry.pk]
    )


def says(found: Iterable[str], *sentences: str) -> bool:
    """Whether each of these is among what was found."""
    missing = set(sentences) - set(found)
    assert missing == set(), f"not among {list(found)}"
    return True


def test_total_that_its_entries_do_not_explain_is_named(books: RichBooks) -> None:
    row = Allocation.objects.order_by("pk")[0]
    assert after(row, granted_seconds=row.granted_seconds + 1) == [
        f"Allocation {row.reference}: granted is {row.granted_seconds + 1} GPU-seconds, "
        f"its entries say {row.granted_seconds}."
    ]
    held = row.held_seconds
    assert after(row, held_seconds=held + 1) == [
        f"Allocation {row.reference}: held is {held + 1} GPU-seconds, its entries say {held}.",
        f"Allocation {row.reference}: held is {held + 1} GPU-seconds, its holds that were not let go say {held}.",
    ]


def test_refund_that_its_runs_do_not_explain_is_named(books: RichBooks) -> None:
    refunded = RunRefund.objects.order_by("pk")[0]
    entry = refunded.entry
    assert says(
        after(refunded, seconds=refunded.seconds - 1),
        f"Entry {entry.pk}: it moves {entry.seconds} GPU-seconds, its refunded runs say {entry.seconds - 1}.",
    )
    assert says(
        after(refunded, allocation_id=refunded.allocation_id + 1),
        f"Refund of a run {refunded.pk}: entry {entry.pk} is of another allocation, sign or kind.",
    )


def test_refund_beyond_what_is_charged_is_named(books: RichBooks) -> None:
    refunded = RunRefund.objects.order_by("pk")[0]
    charged = sum(
        RunCharge.objects.filter(run=refunded.run_id, day=refunded.day, allocation=refunded.allocation_id).values_list(
            "seconds", flat=True
        )
    )
    assert refunded.seconds == charged
    assert says(
        after(refunded, seconds=charged + 1),
        f"Run #{refunded.run_id} on {refunded.day}, allocation #{refunded.allocation_id}: {charged + 1} GPU-seconds "
        f"stand refunded, {charged + 1} were decided and {charged} are charged.",
    )


def test_refund_of_a_run_that_was_not_chosen_is_named(books: RichBooks) -> None:
    refunded = RunRefund.objects.order_by("pk")[0]
    request = refunded.entry.source_reference
    asked = sum(RunRefund.objects.filter(entry=refunded.entry_id).values_list("seconds", flat=True))
    said = after(refunded, run_id=refunded.run_id + 1)
    assert says(
        said,
        f"Request {request}: {asked} GPU-seconds of run #{refunded.run_id} were chosen, "
        f"{asked - refunded.seconds} are refunded.",
    )


def test_reversal_and_correction_of_a_refund_keep_to_its_runs(books: RichBooks) -> None:
    taken_back = RunRefund.objects.filter(entry__kind="reversal").order_by("pk")[0]
    entry, run, day = taken_back.entry_id, taken_back.run_id, taken_back.day
    assert says(
        after(taken_back, run_id=run + 1_000),
        f"Entry {entry}: it reverses a refund, yet {-taken_back.seconds} GPU-seconds of run #{run} on {day} "
        "are left of both.",
    )
    moved = RunRefund.objects.filter(entry__kind="correction").order_by("pk")[0]
    assert says(
        after(moved, run_id=moved.run_id + 1_000),
        f"Entry {moved.entry_id}: it moves run #{moved.run_id + 1_000} on {moved.day}, "
        f"which refund {moved.entry.source_reference} did not give back.",
    )
    assert says(
        after(moved.entry, source_reference="1"),
        f"Entry {moved.entry_id}: it corrects entry 1, which is no refund on its allocation.",
    )


def test_half_a_transfer_is_named(books: RichBooks) -> None:
    out = first("transfer", seconds__lt=0)
    came_in = LedgerEntry.objects.get(key=out.key.replace(":out", ":in"))
    assert says(after_removing(came_in), f"Entry {out.pk}: the other half of this transfer is missing.")
    assert says(
        after(came_in, seconds=came_in.seconds + 1),
        f"Entry {out.pk}: it moves {out.seconds} GPU-seconds, the other half {came_in.pk} {came_in.seconds + 1}.",
    )
    assert says(
        after(came_in, allocation_id=out.allocation_id),
        f"Entry {out.pk}: the other half {came_in.pk} is not on another allocation of the same pool.",
    )
    assert says(
        after(came_in, approved_by_id=None),
        f"Entry {out.pk}: other people, or another instant, stand behind the other half {came_in.pk}.",
    )
    assert says(
        after_removing(first("reversal", reverses=came_in)),
        f"Entry {out.pk}: of it and the other half {came_in.pk} only one was reversed.",
    )


def test_transfer_to_another_pool_is_named(books: RichBooks) -> None:
    out = first("transfer", seconds__lt=0)
    came_in = LedgerEntry.objects.get(key=out.key.replace(":out", ":in"))
    assert says(
        after(came_in.allocation, pool_id=make.pool().pk),
        f"Entry {out.pk}: the other half {came_in.pk} is not on another allocation of the same pool.",
    )


def test_reversal_that_is_not_minus_the_entry_it_names_is_named(books: RichBooks) -> None:
    reversal = first("reversal")
    undone = reversal.reverses_id
    assert undone is not None
    assert says(
        after(reversal, seconds=reversal.seconds - 1),
        f"Entry {reversal.pk}: it is not minus entry {undone}, which it undoes, on the same allocation.",
    )
    assert says(after(reversal, reverses_id=0), f"Entry {reversal.pk}: it undoes no entry that there is.")
    hold = first("hold")
    assert says(
        after(reversal, reverses_id=hold.pk), f"Entry {reversal.pk}: a reversal does not undo entry {hold.pk}, a hold."
    )
    assert says(
        after(hold, reverses_id=undone),
        f"Entry {hold.pk}: it undoes entry {undone}, but it is no reversal and no release.",
    )
    same = LedgerEntry.objects.filter(kind="top_up", pk__gt=undone).order_by("pk")[0]
    assert says(
        after(reversal, reverses_id=same.pk),
        f"Entry {reversal.pk}: it undoes entry {same.pk}, but its source is {undone}.",
    )


def test_release_that_is_not_minus_its_hold_is_named(books: RichBooks) -> None:
    release = first("release")
    assert says(
        after(release, seconds=release.seconds + 1),
        f"Entry {release.pk}: it is not minus entry {release.reverses_id}, which it undoes, on the same allocation.",
    )


def test_decision_without_two_people_is_named(books: RichBooks) -> None:
    given = first("top_up", seconds__gt=ALONE)
    needs = f"Entry {given.pk}: it needs two people, one who asked and another who approved."
    assert says(after(given, asked_by_id=None, approved_by_id=None), needs)
    assert says(after(given, approved_by_id=given.asked_by_id), needs)
    alone = first("top_up", seconds=ALONE)
    assert alone.approved_by_id is None
    needs_now = f"Entry {alone.pk}: it needs two people, one who asked and another who approved."
    assert needs_now not in after(alone, asked_by_id=None)
    Centre.objects.update(two_person_above_seconds=ALONE - 1)
    assert says(after(alone, asked_by_id=None), needs_now)


def test_usage_that_names_people_is_named(books: RichBooks) -> None:
    charge = first("charge")
    assert after(charge, asked_by_id=books.asking.pk) == [
        f"Entry {charge.pk}: it follows from usage, yet it names a person, an entry or a day as a decision does."
    ]


def test_entry_of_which_the_trail_tells_otherwise_is_named(books: RichBooks) -> None:
    entry = first("forfeit")
    event = event_of(entry)
    asking, approving, other = books.asking.pk, books.approving.pk, make.person().pk
    assert says(after_removing(event), f"Entry {entry.pk}: 0 events of the audit trail tell of it, not one.")
    assert says(
        after(event, actor_id=other),
        f"Entry {entry.pk}: person #{asking} asked for it, event {event.pk} says person #{other}.",
    )
    assert says(
        after(entry, approved_by_id=None),
        f"Entry {entry.pk}: nobody approved it, event {event.pk} says person #{approving}.",
    )
    assert says(
        after(entry, seconds=entry.seconds - 1),
        f"Entry {entry.pk}: it moves {entry.seconds - 1} GPU-seconds, event {event.pk} says {entry.seconds}.",
    )
    elsewhere = Allocation.objects.exclude(pk=entry.allocation_id).order_by("pk")[0].pk
    assert says(
        after(event, object_id=str(elsewhere)),
        f"Entry {entry.pk}: it is on allocation #{entry.allocation_id}, event {event.pk} on #{elsewhere}.",
    )
    assert says(
        after_removing(entry),
        f"Event {event.pk}: it tells of entry {entry.pk} on allocation #{entry.allocation_id}, where there is none.",
    )
    later = entry.recorded_at + timedelta(seconds=1)
    assert says(
        after(event, at=later.replace(tzinfo=None) if connection.vendor == "sqlite" else later),
        f"Entry {entry.pk}: it was recorded at {entry.recorded_at}, event {event.pk} says {later}.",
    )


def test_entry_that_its_request_does_not_explain_is_named(books: RichBooks) -> None:
    request = ChangeRequest.objects.get(state="part_approved", kind="top_up")
    entry = LedgerEntry.objects.get(source_kind="request", source_reference=str(request.pk))
    given, on = entry.seconds, entry.allocation_id
    assert says(
        after(request, approved_seconds=given + 1),
        f"Request {request.pk}: by its answer top_up of {given + 1} on #{on} follows, "
        f"its entries say top_up of {given} on #{on}.",
    )
    assert says(
        after(request, state="declined"),
        f"Request {request.pk}: by its answer nothing follows, its entries say top_up of {given} on #{on}.",
    )
    assert says(
        after_removing(entry),
        f"Request {request.pk}: by its answer top_up of {given} on #{on} follows, its entries say nothing.",
    )
    assert says(
        after_removing(request),
        f"Entry {entry.pk}: it names request {request.pk}, and no such request is about its allocation.",
    )
    other = make.person().pk
    assert says(
        after(request, answered_by_id=other),
        f"Entry {entry.pk}: person #{books.asking.pk} asked and person #{books.approving.pk} approved, "
        f"request {request.pk} says person #{books.asking.pk} and person #{other}.",
    )
    whole = ChangeRequest.objects.filter(state="approved", kind="top_up").order_by("pk")[0]
    asked = whole.asked_seconds or 0
    assert says(
        after(whole, asked_seconds=asked + 1),
        f"Request {whole.pk}: {asked + 1} GPU-seconds were asked for and approved whole, it says {asked}.",
    )


def test_hold_that_outlives_its_request_is_named(books: RichBooks) -> None:
    waiting = ChangeRequest.objects.get(state="asked", kind="transfer")
    assert says(
        after(waiting, state="declined"),
        f"Request {waiting.pk}: it is declined, which its hold {waiting.hold_id} does not follow.",
    )
    assert says(
        after(waiting, asked_seconds=1),
        f"Request {waiting.pk}: its hold {waiting.hold_id} is of another allocation, amount or person.",
    )
    assert says(
        after(waiting, hold_id=None),
        f"Request {waiting.pk}: it names hold None, its entries are [{waiting.hold_id}].",
    )


def test_rollup_row_that_no_charge_explains_is_named(books: RichBooks) -> None:
    row = DailyUsage.objects.exclude(seconds=0).order_by("pk")[0]
    where = f"on allocation #{row.allocation_id} on {row.day}"
    assert says(
        after(row, user_name="nobody"),
        f"Daily usage of “{row.user_name}” ({row.outcome}) {where}: 0 GPU-seconds, the run charges say {row.seconds}.",
        f"Daily usage of “nobody” ({row.outcome}) {where}: {row.seconds} GPU-seconds, the run charges say 0.",
    )
    assert says(
        after(row, outcome="failed"),
        f"Daily usage of “{row.user_name}” ({row.outcome}) {where}: 0 GPU-seconds, the run charges say {row.seconds}.",
        f"Daily usage of “{row.user_name}” (failed) {where}: {row.seconds} GPU-seconds, the run charges say 0.",
    )
    nothing = DailyUsage.objects.filter(seconds=0).order_by("pk")[0]
    assert after(nothing, user_name="nobody") == [
        f"Daily usage of “nobody” ({nothing.outcome}) on allocation #{nothing.allocation_id} on {nothing.day}: "
        "no run charge explains this row."
    ]


def test_period_end_that_does_not_follow_from_usage_and_rule_is_named() -> None:
    end = closed_period()
    what = f"Period end of {end.allocation.reference}"
    copy_in_front(*COPIED)
    assert list(differences()) == []
    assert says(
        after(end, most_seconds=50 * HOUR - 1),
        f"{what}: {50 * HOUR} GPU-seconds were carried over and {20 * HOUR} forfeited; "
        f"its usage and rule say {50 * HOUR - 1} and {20 * HOUR + 1}.",
        f"{what}: at most {50 * HOUR - 1} GPU-seconds are to be carried over, its rule says {50 * HOUR}.",
    )
    assert says(
        after(end.allocation, used_seconds=30 * HOUR + 1),
        f"{what}: {50 * HOUR} GPU-seconds were carried over and {20 * HOUR} forfeited; "
        f"its usage and rule say {50 * HOUR} and {20 * HOUR - 1}.",
    )
    assert says(after(end.allocation, state="open"), f"{what}: the allocation is open, not closed.")
    forfeit = first("forfeit")
    assert says(
        after(forfeit, asked_by_id=make.person().pk),
        f"{what}: others stand behind entry {forfeit.pk} than behind its rule.",
    )


def test_hold_let_go_after_the_period_end_is_settled_the_next_night() -> None:
    end = closed_period(held_hours=8)
    assert (PeriodEnd.objects.count(), first("forfeit").seconds) == (1, -12 * HOUR)
    assert list(differences()) == []
    movements.release(held=first("hold"), by=make.person(), at=timezone.now(), reason="it was turned down")
    assert list(differences()) == []
    close_periods(at=timezone.now())
    assert LedgerEntry.objects.latest("pk").source_kind == "late_usage"
    assert list(differences()) == []
    copy_in_front(*COPIED)
    assert says(
        after_removing(LedgerEntry.objects.latest("pk")),
        f"Allocation {end.allocation.reference}: granted is {30 * HOUR} GPU-seconds, its entries say {38 * HOUR}.",
    )


def test_verify_ledger_names_each_difference_and_fails(books: RichBooks) -> None:
    said = StringIO()
    call_command("verify_ledger", stdout=said)
    assert said.getvalue() == "The books are right: every total, entry and charge follows from the job runs.\n"
    charge = first("charge")
    said = StringIO()
    with (
        changed("UPDATE allocations_ledgerentry SET asked_by_id = %s WHERE id = %s", books.asking.pk, charge.pk),
        pytest.raises(CommandError, match="The books differ from the evidence in 1 places") as failed,
    ):
        call_command("verify_ledger", stdout=said)
    assert failed.value.returncode == 1
    assert said.getvalue() == (
        f"Entry {charge.pk}: it follows from usage, yet it names a person, an entry or a day as a decision does.\n"
    )
