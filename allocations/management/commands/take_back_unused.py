"""`manage.py take_back_unused`: every night, warn of unused GPU time and take back what was warned of, by the rules."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from allocations.take_back_cases import Finding, What
from allocations.taking_back import take_back_unused
from centre.amounts import hours_text

HEADINGS = ("allocation", "what", "through", "used", "planned", "to be taken", "on")
NUMBERS = frozenset({3, 4, 5})


class Command(BaseCommand):
    help = "Warn of unused GPU-hours, and take back what was warned of, by the approved rules. Run it every night."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say who would be warned and lose what; do nothing")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        findings = take_back_unused(at=timezone.now(), dry_run=dry_run)
        for line in table(findings):
            self.stdout.write(line)
        self.stdout.write(summary(findings, dry_run=dry_run))


def summary(findings: list[Finding], *, dry_run: bool) -> str:
    """One sentence: how many were warned, how many lose how much, how many wait."""
    warned, taken, waiting = (
        [finding for finding in findings if finding.what == what] for what in (What.WARNED, What.TAKEN, What.WAITING)
    )
    hours = hours_text(sum(finding.takes for finding in taken))
    said = (
        f"Allocations warned: {len(warned)}; {hours} GPU-hours taken back from {len(taken)}; "
        f"waiting for usage: {len(waiting)}."
    )
    return f"Dry run, nothing is changed. {said}" if dry_run else said


def table(findings: list[Finding]) -> list[str]:
    """The findings in columns, amounts in GPU-hours; nothing when there are none."""
    if not findings:
        return []
    rows = [HEADINGS, *(cells_of(finding) for finding in findings)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return [
        "  ".join(
            cell.rjust(width) if column in NUMBERS else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def cells_of(finding: Finding) -> tuple[str, ...]:
    what = str(finding.what.label).lower()
    if finding.what == What.WAITING:
        what = f"waits for usage of {finding.allocation.pool.cluster.code}"
        return finding.allocation.reference, what, str(finding.until), "", "", "", ""
    return (
        finding.allocation.reference,
        what,
        str(finding.until),
        hours_text(finding.used),
        hours_text(finding.planned),
        hours_text(finding.takes),
        str(finding.due_on or ""),
    )
