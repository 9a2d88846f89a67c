"""From the command to the first sign-in: the letter, the link, the password; and a forgotten password."""

import re
from datetime import timedelta

import pytest
import time_machine
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.core.management import CommandError, call_command
from django.test import Client, TestCase
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from centre import emails, members
from centre.models import Event, User
from centre.permissions import ProjectRole
from tests import make

pytestmark = pytest.mark.django_db
PASSWORD = "a harbour full of boats"


def invited(**options: object) -> None:
    with TestCase.captureOnCommitCallbacks(execute=True):
        call_command("invite_members", **options)


def newcomer(email: str = "ada@example.org", *, name: str = "Ada", language: str = "en") -> User:
    return members.add_person(email=email, name=name, language=language, by=None, at=timezone.now())


def link_in(letter: mail.EmailMessage) -> str:
    """The path of the letter's link to choose a password."""
    found = re.findall(r"http://127\.0\.0\.1:8000(/accounts/password/reset/key/\S+)", str(letter.body))
    assert len(found) == 1
    return str(found[0])


def choose(client: Client, path: str, password: str) -> None:
    page = client.get(path, follow=True)
    client.post(page.redirect_chain[-1][0], {"password1": password, "password2": password}, follow=True)


def signed_in(client: Client) -> str | None:
    return client.session.get("_auth_user_id")


def test_invited_person_chooses_a_password_and_is_signed_in() -> None:
    user, client = newcomer(), Client()
    invited()
    choose(client, link_in(mail.outbox[0]), PASSWORD)
    assert signed_in(client) == str(user.pk)
    later = Client()
    later.post(reverse("account_login"), {"login": "Ada@example.org", "password": PASSWORD})
    assert signed_in(later) == str(user.pk)


def test_link_works_once() -> None:
    newcomer()
    invited()
    path = link_in(mail.outbox[0])
    choose(Client(), path, PASSWORD)
    again = Client()
    page = again.get(path, follow=True)
    assert page.redirect_chain == []
    assert signed_in(again) is None


def test_link_dies_after_the_time_that_the_letter_names() -> None:
    newcomer()
    invited()
    letter = mail.outbox[0]
    assert "lives for 7 days" in letter.body
    path, now = link_in(letter), timezone.localtime()  # tokens count in the machine's own zone
    with time_machine.travel(now + timedelta(days=7, minutes=1)):
        assert Client().get(path, follow=True).redirect_chain == []
    with time_machine.travel(now + timedelta(days=6, hours=23)):
        assert len(Client().get(path, follow=True).redirect_chain) == 1


def test_letter_goes_once_unless_asked_again() -> None:
    user = newcomer()
    invited()
    assert User.objects.get().invited_at is not None
    invited()
    assert len(mail.outbox) == 1
    invited(again=True)
    assert [letter.to for letter in mail.outbox] == [["ada@example.org"]] * 2
    events = Event.objects.filter(act="invite_person").values_list("object_id", flat=True)
    assert list(events) == [str(user.pk)] * 2


def test_letter_goes_only_to_who_may_sign_in_and_has_no_password() -> None:
    newcomer()
    make.person("has-one@example.org")
    newcomer("closed@example.org")
    User.objects.filter(email="closed@example.org").update(is_active=False)
    invited(again=True)
    assert [letter.to for letter in mail.outbox] == [["ada@example.org"]]


def test_letter_goes_only_to_current_members_of_the_project_named() -> None:
    project, other = make.project("llm", title="Models"), make.project("vision")
    inside, left, elsewhere = newcomer(), newcomer("left@example.org"), newcomer("elsewhere@example.org")
    for user, where in ((inside, project), (left, project), (elsewhere, other)):
        members.add_member(project=where, user=user, role=ProjectRole.MEMBER, by=None, at=timezone.now())
    members.remove_member(membership=left.memberships.get(), by=None, at=timezone.now())
    invited(project="llm")
    assert [letter.to for letter in mail.outbox] == [["ada@example.org"]]
    assert "- llm: “Models”" in mail.outbox[0].body
    with pytest.raises(CommandError, match="There is no project “nope”"):
        invited(project="nope")


def test_hostile_names_add_no_header_and_no_line() -> None:
    make.centre(name_en="Harbour <b>& Co</b>")
    project = make.project("llm", title="Models\r\n\r\nYour account is locked: http://evil.example.org\u202e")
    user = newcomer()
    User.objects.filter(pk=user.pk).update(name="Eve\nBcc: victim\n<script>")  # kept before names were checked
    members.add_member(project=project, user=user, role=ProjectRole.MEMBER, by=None, at=timezone.now())
    invited()
    message = mail.outbox[0].message()
    assert (message["To"], message["Bcc"]) == ("ada@example.org", None)
    assert message["Subject"] == "Your access to the portal of Harbour <b>& Co</b>"
    lines = str(mail.outbox[0].body).splitlines()
    assert "Dear Eve Bcc: victim <script>," in lines
    assert "- llm: “Models Your account is locked: http://evil.example.org”" in lines


def test_letter_is_in_the_language_of_who_receives_it() -> None:
    make.centre(name_en="Harbour Centre", name_zh_hant="海港中心")
    newcomer(language="zh-hant")
    newcomer("bo@example.org")
    invited()
    subjects = {letter.to[0]: letter.subject for letter in mail.outbox}
    assert "海港中心" in subjects["ada@example.org"]
    assert "Harbour Centre" in subjects["bo@example.org"]


class RefusesOneAddress(EmailBackend):
    """A mail server that has no such mailbox."""

    def send_messages(self, messages: list[mail.EmailMessage]) -> int:  # type: ignore[override]
        if messages[0].to == ["ada@example.org"]:
            raise ConnectionRefusedError("no such mailbox")
        return super().send_messages(messages)


def test_who_could_not_be_reached_is_named_and_is_as_if_never_invited(settings: Settings) -> None:
    settings.EMAIL_BACKEND = f"{__name__}.RefusesOneAddress"
    newcomer()
    newcomer("bo@example.org")
    people = User.objects.order_by("email")
    with TestCase.captureOnCommitCallbacks(execute=True):
        outcome = members.invite(people=people, by=None, at=timezone.now())
    assert [user.email for user in outcome.undelivered] == ["ada@example.org"]
    assert [letter.to for letter in mail.outbox] == [["bo@example.org"]]
    assert [user.invited_at is None for user in people.all()] == [True, False]


def test_invitations_go_out_only_when_the_transaction_commits() -> None:
    newcomer()
    with TestCase.captureOnCommitCallbacks(execute=False):
        members.invite(people=User.objects.all(), by=None, at=timezone.now())
    assert mail.outbox == []


def test_forgotten_password_is_mended_with_and_without_one_before() -> None:
    for user in (make.person("forgot@example.org"), newcomer()):
        client = Client()
        client.post(reverse("account_reset_password"), {"email": user.email})
        letter = mail.outbox[-1]
        assert letter.to == [user.email]
        path = link_in(letter)
        choose(client, path, PASSWORD)
        assert signed_in(client) == str(user.pk)


def test_letter_of_a_forgotten_password_is_in_the_persons_language() -> None:
    for language in ("en", "zh-hant"):
        user = make.person(f"{language}@example.org", language=language)
        Client().post(reverse("account_reset_password"), {"email": user.email})
    assert ["Choose a new password" in letter.subject for letter in mail.outbox] == [True, False]


def test_no_letter_goes_to_a_closed_account_or_an_unknown_address() -> None:
    newcomer()
    User.objects.update(is_active=False)
    for email in ("ada@example.org", "nobody@example.org"):
        Client().post(reverse("account_reset_password"), {"email": email})
    assert mail.outbox == []


def test_link_of_somebody_who_was_closed_afterwards_signs_nobody_in() -> None:
    newcomer()
    invited()
    path, client = link_in(mail.outbox[0]), Client()
    User.objects.update(is_active=False)
    choose(client, path, PASSWORD)
    page = client.get(reverse("after_sign_in"))
    assert page.headers["Location"].startswith(reverse("account_login"))


@pytest.mark.parametrize(
    ("seconds", "said"), [(3600, "1 hour"), (86_400, "1 day"), (604_800, "7 days"), (90_000, "25 hours")]
)
def test_lifetime_is_said_in_whole_days_or_hours(seconds: int, said: str) -> None:
    assert emails.lifetime(seconds) == said


def test_one_line_is_short_and_single() -> None:
    assert emails.one_line("a\u2028b\x00c\u200fd\te") == "a b c d e"
    assert emails.one_line("x" * 500) == "x" * 119 + "…"
