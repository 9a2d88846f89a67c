"""`manage.py reconcile_usage`: do charges, job runs and Slurm's own sums agree?"""

from argparse import ArgumentParser
from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from allocations.management.commands.import_usage import known_cluster
from allocations.reconciling import (
    UnreadableReport,
    Window,
    differences_to_charges,
    differences_to_slurm,
    read_sreport,
    sums_of_runs,
)


class Command(BaseCommand):
    help = (
        "Compare charged GPU-seconds per Slurm account and day with the job runs and, given the output of “sreport -n "
        "-P -t seconds cluster AccountUtilizationByUser -T gres/gpu start=D end=D+1”, with Slurm's own sums."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--cluster", required=True, metavar="CODE", help="the cluster's name in Slurm")
        parser.add_argument("--from", required=True, dest="first", metavar="DAY", help="first accounting day")
        parser.add_argument("--to", required=True, dest="last", metavar="DAY", help="last accounting day, included")
        parser.add_argument("--sreport", metavar="FILE", help="what sreport printed for the same days")

    def handle(self, *args: Any, **options: Any) -> None:
        window = Window(known_cluster(options["cluster"]), read_day(options["first"]), read_day(options["last"]))
        if window.last < window.first:
            raise CommandError("--to is before --from.", returncode=2)
        sums = sums_of_runs(window)
        found = list(differences_to_charges(window, sums))
        if options["sreport"]:
            try:
                with Path(options["sreport"]).open(encoding="utf-8", errors="replace") as lines:
                    slurm = read_sreport(lines, window.cluster)
            except (OSError, UnreadableReport) as error:
                raise CommandError(str(error), returncode=2) from error
            for is_explained, sentence in differences_to_slurm(window, sums, slurm):
                if is_explained:
                    self.stdout.write(sentence)
                else:
                    found.append(sentence)
        for sentence in found:
            self.stdout.write(sentence)
        if found:
            raise CommandError(f"{len(found)} differences.", returncode=1)
        total = sum(sums.by_account.values())
        self.stdout.write(
            f"{len(sums.by_account)} accounts, {total} GPU-seconds from {window.first} to {window.last}: "
            f"charges and runs agree{' with Slurm' if options['sreport'] else ''}."
        )


def read_day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"“{text}” is not a day such as 2026-11-22.", returncode=2) from error
