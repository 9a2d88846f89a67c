"""`manage.py scheduler_states`: what becomes of new jobs of each Slurm account, for whoever sets the scheduler."""

import csv
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from allocations.scheduler_states import UnknownCluster, scheduler_states

HEADER = ("cluster", "pool", "account", "state", "reason", "left_gpu_seconds")


class Command(BaseCommand):
    help = "Print whether new jobs of each Slurm account start, are slowed or are blocked today, per GPU pool, and why."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--cluster", metavar="CODE", help="only the accounts of this cluster")
        parser.add_argument("--csv", action="store_true", help="with commas instead of tabs")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            rows = scheduler_states(at=timezone.now(), cluster=options["cluster"])
        except UnknownCluster as error:
            raise CommandError(f"There is no cluster {error}.", returncode=2) from error
        writer = csv.writer(self.stdout, delimiter="," if options["csv"] else "\t", lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(rows)
