"""manage.py first_officers: appoint the first two administrators, once."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from centre import appointments, emails
from centre.members import MemberError


class Command(BaseCommand):
    help = (
        "Appoint the first two administrators and send both a first-sign-in link. It works once; every later "
        "appointment is asked for by one person and approved by another, in the portal."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("first", metavar="A@x", help="the e-mail address of the one")
        parser.add_argument("second", metavar="B@y", help="the e-mail address of the other")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            users = appointments.first_officers(first=options["first"], second=options["second"], at=timezone.now())
        except (appointments.AppointmentError, MemberError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Administrators: {users[0].email}, {users[1].email}.")
        self.stdout.write(emails.where_letters_go())
