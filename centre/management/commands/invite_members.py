"""manage.py invite_members: send first-sign-in links to people who have no password yet."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from centre import emails, members
from centre.models import Project, User


class Command(BaseCommand):
    help = "Send first-sign-in links to people without a password who were not sent one yet."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", metavar="CODE", help="only to the members of this project")
        parser.add_argument("--again", action="store_true", help="also to those who were sent one before")

    def handle(self, *args: Any, **options: Any) -> None:
        people = User.objects.filter(members.WITHOUT_PASSWORD, is_active=True)
        if not options["again"]:
            people = people.filter(invited_at__isnull=True)
        if options["project"] is not None:
            project = Project.objects.filter(code=options["project"]).first()
            if project is None:
                raise CommandError(f"There is no project “{options['project']}”.")
            people = people.filter(memberships__project=project, memberships__ended_at__isnull=True)
        invited = members.invite(people=people, by=None, at=timezone.now())
        sent = len(invited.people) - len(invited.undelivered)
        self.stdout.write(f"First-sign-in links sent: {sent}. {emails.where_letters_go()}")
        if invited.undelivered:
            unreached = ", ".join(user.email for user in invited.undelivered)
            raise CommandError(f"Letters that could not be sent: {len(invited.undelivered)} ({unreached}).")
