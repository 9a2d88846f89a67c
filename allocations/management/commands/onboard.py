"""manage.py onboard: bring a centre in from spreadsheets."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from allocations.onboard import NothingWritten, Result, onboard

FILES = ("pools", "tenants", "projects", "members", "allocations")


class Command(BaseCommand):
    help = (
        "Bring pools, tenants, projects, members and allocations in from CSV files (UTF-8, separated by commas). "
        "All of it or nothing: each bad line is named. The same files again change nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        for name in FILES:
            parser.add_argument(f"--{name}", metavar="FILE", help=f"the spreadsheet of {name}")
        parser.add_argument("--dry-run", action="store_true", help="do it, say what came of it, and undo it")

    def handle(self, *args: Any, **options: Any) -> None:
        files = {name: Path(options[name]) for name in FILES if options[name] is not None}
        if not files:
            raise CommandError("Name at least one file: --" + " --".join(FILES) + ".")
        try:
            result = onboard(
                pools=files.get("pools"),
                tenants=files.get("tenants"),
                projects=files.get("projects"),
                members=files.get("members"),
                allocations=files.get("allocations"),
                dry_run=options["dry_run"],
                at=timezone.now(),
            )
        except NothingWritten as error:
            for line in [*error.warnings, *error.problems]:
                self.stderr.write(str(line), self.style.NOTICE)
            raise CommandError(str(error)) from error
        self.report(result, dry_run=options["dry_run"])

    def report(self, result: Result, *, dry_run: bool) -> None:
        for warning in result.warnings:
            self.stderr.write(warning, self.style.NOTICE)
        for count in result.counts:
            self.stdout.write(f"{count.file}: new {count.new}, changed {count.changed}, same {count.same}")
        if dry_run:
            self.stdout.write("A dry run: nothing was written.")
        elif result.changed_nothing:
            self.stdout.write("Everything stood already; nothing was changed.")
