"""One function per letter. Letters are plain text, in the language of who receives them, and are sent after the commit.

Names and titles come from outside: in a letter they stand on one line, without control characters, and cut short, so
that none of them can add a heading, a line or a paragraph of its own.
"""

import logging
import smtplib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, override

from centre.models import Centre, Invitation, Letter, Membership, Project, User
from centre.names import greeting_name, stands_between_letters
from centre.role_words import what_role_means
from centre.templatetags.portal import written_instant

logger = logging.getLogger(__name__)
To = TypeVar("To", User, User | Invitation)
PROJECTS_SHOWN = 10


def one_line(text: str, most: int = 120) -> str:
    """A name or title as a letter may show it: one line, no control or direction characters, at most so long."""
    shown = "".join(
        letter if unicodedata.category(letter)[0] not in "CZ" or stands_between_letters(text, place) else " "
        for place, letter in enumerate(text)
    )
    shown = " ".join(shown.split())
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def greeted(name: str) -> str:
    """The name by which a letter may greet; empty where it is long or could be taken for a link."""
    return one_line(greeting_name(name))


def inviter(user: User) -> str:
    """Who invites, as a letter to a stranger may say it: by name, or by the address where the name could mislead."""
    return greeted(user.name) or one_line(user.email)


def project_line(project: Project) -> str:
    """A project as a letter names it on a line of its own: the code, and the title in quotation marks."""
    return _("%(code)s: “%(title)s”") % {"code": project.code, "title": one_line(project.title)}


def first_sign_in(*, people: Sequence[User], at: datetime) -> list[User]:
    """Send each person the link with which they choose a password. Returns those whose letter could not be sent."""
    centre = Centre.objects.filter(id=1).first()
    projects: dict[int, list[Project]] = defaultdict(list)
    joined = Membership.objects.current().filter(user__in=[user.pk for user in people]).order_by("project__code")
    for membership in joined.select_related("project"):
        projects[membership.user_id].append(membership.project)
    letters = []
    for user in people:
        with override(user.language):
            context = {
                "name": greeted(user.name),
                "email": user.email,
                "centre": one_line(centre.name) if centre else _("the supercomputing centre"),
                "projects": [project_line(project) for project in projects[user.pk][:PROJECTS_SHOWN]],
                "more_projects": max(0, len(projects[user.pk]) - PROJECTS_SHOWN),
                "link": password_link(user),
                "link_lives": lifetime(settings.PASSWORD_RESET_TIMEOUT),
                "reset_link": absolute(reverse("account_reset_password")),
            }
            letters.append((user, letter("first_sign_in", user, context)))
    return deliver(letters, at=at)


def invitation_to_project(*, invitation: Invitation, token: str, at: datetime) -> bool:
    """Send the link into a team; False when the letter could not be sent.

    Who is known reads it in their own language and finds it among their letters; everybody else in the language that
    the sender chose. Whoever invites learns nothing of which it was.
    """
    centre = Centre.objects.filter(id=1).first()
    known = User.objects.filter(email=invitation.email).first()
    language = known.language if known is not None else invitation.language
    with override(language):
        context = {
            "name": greeted(known.name if known is not None else invitation.name),
            "centre": one_line(centre.name) if centre else _("the supercomputing centre"),
            "inviter": inviter(invitation.invited_by),
            "project": project_line(invitation.project),
            "role": invitation.get_role_display(),
            "role_means": what_role_means(invitation.role),
            "link": absolute(reverse("invitation", args=[token])),
            "works_until": written_instant(invitation.expires_at),
        }
        message = letter("invitation_to_project", invitation, context)
    return not deliver([(known or invitation, message)], at=at)


def letter(name: str, to: User | Invitation, context: Mapping[str, object]) -> EmailMessage:
    """The letter of `templates/emails/<name>.txt`: its first line is the subject."""
    subject, _newline, body = render_to_string(f"emails/{name}.txt", dict(context)).strip().partition("\n")
    return EmailMessage(subject=one_line(subject), body=body.strip() + "\n", to=[to.email])


def deliver(letters: Iterable[tuple[To, EmailMessage]], *, at: datetime) -> list[To]:
    """Send over one connection; every letter of the portal leaves here, and of each that did a `Letter` is kept.

    Who could not be reached is returned and logged; the others get their letter. Somebody who was invited and is not
    known yet has no record to keep it in.
    """
    undelivered, sent = [], []
    connection = get_connection()
    try:
        for to, message in letters:
            if not leaves(message, connection, to):
                undelivered.append(to)
            elif isinstance(to, User):
                sent.append(Letter(user=to, subject=message.subject[:200], sent_at=at))
    finally:  # also what left before something else went wrong
        connection.close()
        Letter.objects.bulk_create(sent, batch_size=1_000)
    return undelivered


def leaves(message: EmailMessage, connection: BaseEmailBackend, to: User | Invitation) -> bool:
    """Hand a letter to the mail server; whether it took it."""
    message.connection = connection
    try:
        message.send()
    except (smtplib.SMTPException, OSError, ValueError) as error:  # ValueError: an address that cannot be written
        logger.warning("A letter to %s %s could not be sent: %s", to._meta.model_name, to.pk, error)
        connection.close()
        return False
    return True


def password_link(user: User) -> str:
    """Where the person chooses a password; works once, for PASSWORD_RESET_TIMEOUT seconds."""
    key = default_token_generator.make_token(user)
    return absolute(reverse("account_reset_password_from_key", kwargs={"uidb36": user_pk_to_url_str(user), "key": key}))


def absolute(path: str) -> str:
    """A page's address for people outside: never taken from a request's headers."""
    public: str = settings.PUBLIC_URL
    return public.rstrip("/") + path


def lifetime(seconds: int) -> str:
    """How long something lives, in the current language: whole days where it comes to days, else hours."""
    hours = seconds // 3600
    if hours >= 24 and hours % 24 == 0:
        return ngettext("%(days)s day", "%(days)s days", hours // 24) % {"days": hours // 24}
    return ngettext("%(hours)s hour", "%(hours)s hours", hours) % {"hours": hours}


def where_letters_go() -> str:
    """What becomes of a letter on this installation, as a sentence for whoever sends one by a command."""
    backend = settings.EMAIL_BACKEND.rpartition(".")[0]
    if backend.endswith("filebased"):
        return _("Letters are written as files into %(folder)s.") % {"folder": settings.EMAIL_FILE_PATH}
    if backend.endswith("console"):
        return _("Letters are printed on the console.")
    if backend.endswith("smtp"):
        return _("Letters go through the mail server %(host)s.") % {"host": settings.EMAIL_HOST}
    return _("Letters go through %(backend)s.") % {"backend": settings.EMAIL_BACKEND}
