"""`manage.py load_demo`: an invented centre to look around in. Safe to repeat; never touches real data."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from centre.demo import loading, people


def demo_day(text: str) -> date:
    """A day around which the demo's years fit into those that the books take."""
    day = date.fromisoformat(text)
    if not 2003 <= day.year <= 2190:
        raise ArgumentTypeError("the demo is loaded for a day from 2003 to 2190")
    return day


class Command(BaseCommand):
    requires_system_checks = ()  # `migrate` has just made them
    help = "Load the demo, relative to today, and print with whom to sign in. A second call changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--runs", type=int, default=loading.RUNS, help="job runs of the year, about")
        parser.add_argument("--seed", type=int, default=loading.SEED, help="another number, another job history")
        parser.add_argument(
            "--today", type=demo_day, metavar="DAY", help="load as of 09:00 of that day, such as 2026-11-22"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            was_loaded = not loading.load(runs=options["runs"], seed=options["seed"], today=options["today"])
        except loading.NotEmpty:
            raise CommandError(
                "This database holds data that is not the demo's; the demo is loaded into an empty one only."
            ) from None
        self.stdout.write("The demo is loaded already." if was_loaded else "The demo is loaded.")
        self.stdout.write(people.printed())
