"""`manage.py nightly`: what runs every night, in its order. A step that fails is told and does not stop the others."""

import traceback
from types import TracebackType
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import close_old_connections, connection
from django.utils import timezone

from allocations import requests
from allocations.importing import stored_files


class Command(BaseCommand):
    help = (
        "Import what waits, close ended periods, take back unused GPU-hours, issue statements, let overdue requests "
        "lapse, send letters, tidy up."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        failed: list[str] = []
        with Step(self, "import_received", failed):
            call_command("import_received", stdout=self.stdout, stderr=self.stderr)
        with Step(self, "close_periods", failed):
            call_command("close_periods", stdout=self.stdout, stderr=self.stderr)
        with Step(self, "take_back_unused", failed):
            call_command("take_back_unused", stdout=self.stdout, stderr=self.stderr)
        with Step(self, "issue_statements", failed):
            call_command("issue_statements", stdout=self.stdout, stderr=self.stderr)
        with Step(self, "lapse_requests", failed):
            lapsed = requests.lapse_overdue(at=timezone.now())
            self.stdout.write(f"Requests that lapsed: {len(lapsed)}.")
        with Step(self, "send_notices", failed):
            call_command("send_notices", stdout=self.stdout, stderr=self.stderr)
        with Step(self, "tidy_up", failed):
            left = stored_files.remove_unfinished(at=timezone.now())
            self.stdout.write(f"Files whose reception had broken off: {left} removed.")
            call_command("prune_db_task_results", verbosity=0)
        if failed:
            raise CommandError(f"Steps that failed: {', '.join(failed)}.", returncode=1)


class Step:
    """A step of the night: named on the output; whatever goes wrong in it is told with its trace, and noted."""

    def __init__(self, command: BaseCommand, name: str, failed: list[str]) -> None:
        self.command, self.name, self.failed = command, name, failed

    def __enter__(self) -> None:
        if not connection.in_atomic_block:
            close_old_connections()  # one that the step before lost is opened anew
        self.command.stdout.write(f"{self.name}:")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, (Exception, SystemExit)):
            return False  # nothing went wrong, or somebody interrupts the night
        told = str(error) if isinstance(error, CommandError) else "".join(traceback.format_exception(error))
        self.command.stderr.write(f"{self.name} failed: {told}")
        self.failed.append(self.name)
        return True
