"""`manage.py send_notices`: one letter to each person about what is new on their allocations."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from allocations import notices
from allocations.emails import pressing
from allocations.models import Notice
from centre import emails


class Command(BaseCommand):
    help = "Write down which thresholds are crossed, and send each person one letter about what they were not told yet."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="print who would get what, and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        at = timezone.now()
        if options["dry_run"]:
            with transaction.atomic():
                notices.find_due(at=at)
                self.print_owed()
                transaction.set_rollback(True)
            return
        notices.find_due(at=at)
        result = notices.send(at=at)
        self.stdout.write(f"Letters sent: {len(result.sent)}. {emails.where_letters_go()}")
        if result.undelivered:
            unreached = ", ".join(user.email for user in result.undelivered)
            raise CommandError(f"Letters to be tried again the next time: {len(result.undelivered)} ({unreached}).")

    def print_owed(self) -> None:
        """A line for each person and thing that the next letters would tell."""
        owed = sorted(Notice.objects.to_send().select_related("user", "allocation"), key=pressing)
        told = {(notice.user.email, notice.allocation.reference, notice.kind): notice for notice in reversed(owed)}
        for (email, reference, _kind), notice in sorted(told.items()):
            self.stdout.write(f"{email}: {reference}: {notice.about}")
        letters = len({notice.user_id for notice in owed})
        self.stdout.write(f"Letters that would be sent: {letters}. Nothing was changed.")
