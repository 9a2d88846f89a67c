"""`manage.py close_periods`: close the allocations whose period is over; run it every night."""

from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from allocations.closing import Closing, Outcome, close_periods, preview_closing
from centre.amounts import hours_text


class Command(BaseCommand):
    help = "Close ended allocations: what is left is carried over or forfeited, as the rule of their GPU pool says."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="show what would happen, and write nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        closings = (preview_closing if options["dry_run"] else close_periods)(at=timezone.now())
        for closing in closings:
            if closing.outcome != Outcome.NO_RULE:
                self.stdout.write(line_of(closing))
        for pool, count in sorted(Counter(pools_without_rule(closings)).items()):
            allocations = "1 ended allocation waits" if count == 1 else f"{count} ended allocations wait"
            self.stdout.write(f"{pool} has no period-end rule: {allocations}. Ask for a rule in the admin.")
        self.stdout.write(sum_of(closings, dry_run=options["dry_run"]))
        if failed := [closing for closing in closings if closing.outcome == Outcome.FAILED]:
            raise CommandError(f"{len(failed)} ended allocations could not be closed.", returncode=1)


def pools_without_rule(closings: list[Closing]) -> list[str]:
    return [closing.allocation.pool.code for closing in closings if closing.outcome == Outcome.NO_RULE]


def line_of(closing: Closing) -> str:
    """What came of one allocation, in a sentence."""
    name = f"{closing.allocation.reference} (ended {closing.allocation.end_on.isoformat()})"
    if closing.outcome == Outcome.WAITS and closing.waits_until is not None:
        return f"{name} waits for a following allocation until {closing.waits_until.isoformat()}."
    if closing.outcome == Outcome.CHANGED:
        return f"{name} was left: somebody changed it at this moment. The next run takes it up."
    if closing.outcome == Outcome.FAILED:
        return f"{name} could not be closed, and nothing of it was written: {closing.why}"
    to = f" to {closing.following}" if closing.following else ""
    begin = "closed" if closing.outcome == Outcome.CLOSED else "settled anew"
    return (
        f"{name} {begin}: {hours_text(closing.carried)} GPU-hours carried over{to}, "
        f"{hours_text(closing.forfeited)} forfeited to the reserve of {closing.allocation.pool.code}."
    )


def sum_of(closings: list[Closing], *, dry_run: bool) -> str:
    outcomes = Counter(closing.outcome for closing in closings)
    waiting = outcomes[Outcome.WAITS] + outcomes[Outcome.NO_RULE] + outcomes[Outcome.CHANGED]
    begin = "Dry run, nothing was written: would close" if dry_run else "Closed"
    return (
        f"{begin} {outcomes[Outcome.CLOSED]} ended allocations; {waiting} wait. "
        f"Carried over {hours_text(sum(closing.carried for closing in closings))} GPU-hours, "
        f"forfeited {hours_text(sum(closing.forfeited for closing in closings))}."
    )
