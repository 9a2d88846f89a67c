"""`manage.py verify_ledger`: are the books right, from job runs up to totals?"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from allocations.verifying import differences


class Command(BaseCommand):
    help = (
        "Recompute run charges from job runs, entries from run charges, and totals from entries; name each difference."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        found = 0
        for found, difference in enumerate(differences(), start=1):  # noqa: B007  the count is needed after the loop
            self.stdout.write(difference)
        if found:
            raise CommandError(f"The books differ from the evidence in {found} places.", returncode=1)
        self.stdout.write("The books are right: every total, entry and charge follows from the job runs.")
