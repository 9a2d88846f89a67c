"""`manage.py issue_statements`: issue the monthly statements that are due; run it every night."""

from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from allocations.issuing import Outcome, issue_due


class Command(BaseCommand):
    help = "Issue the statement of every project for each month that has been over for some days."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--after-days", type=int, default=3, help="days to wait after the end of a month, for late usage (3)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["after_days"] < 0:
            raise CommandError("--after-days cannot be negative.")
        count: Counter[Outcome] = Counter()
        for each in issue_due(at=timezone.now(), after_days=options["after_days"]):
            count[each.outcome] += 1
            if each.outcome != Outcome.ISSUED:
                self.stdout.write(f"{each.project.code}, {each.month:%Y-%m}: {each.outcome.value}. {each.why}")
        self.stdout.write(f"Statements issued: {count[Outcome.ISSUED]}; projects that wait: {count[Outcome.WAITS]}.")
        if count[Outcome.FAILED]:
            raise CommandError(f"{count[Outcome.FAILED]} statements could not be issued.", returncode=1)
