"""Invitations into a team: who may send which, what the letter says, who joins by its link, and when it is dead."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
import time_machine
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.test import Client, TestCase
from django.urls import reverse
from pytest_django import Settings

from centre import invitations, members, tenants
from centre.members import AccountClosed, AlreadyMember, MemberError, NotAnAddress, ProjectClosed
from centre.models import Event, Invitation, Letter, Membership, Project, User
from centre.models.invitations import Fate
from centre.permissions import ProjectRole
from centre.private_links import without_private_links
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.page]
NOW = datetime(2026, 6, 15, 4, 0, tzinfo=UTC)  # noon in Hong Kong
GUEST = "guest@example.org"
PASSWORD = "a harbour full of boats"
CHOSEN = {"name": "Gwen Guest", "password1": PASSWORD, "password2": PASSWORD}


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def project() -> Project:
    return make.project("reef", title="Coral reefs")


@pytest.fixture
def lead(project: Project) -> User:
    return make.member(project=project, role=ProjectRole.LEAD, user=make.person(name="Lena Lead"))


@pytest.fixture
def manager(project: Project) -> User:
    return make.member(project=project, role=ProjectRole.MANAGER, user=make.person(name="Max Manager"))


def invited(
    project: Project,
    by: User,
    email: str = GUEST,
    *,
    role: ProjectRole = ProjectRole.MEMBER,
    name: str = "",
    language: str = "en",
    at: datetime = NOW,
) -> Invitation:
    with TestCase.captureOnCommitCallbacks(execute=True):
        return invitations.invite_to_project(
            project=project, email=email, role=role, by=by, at=at, name=name, language=language
        )


def sent_again(invitation: Invitation, by: User, *, at: datetime = NOW) -> Invitation:
    with TestCase.captureOnCommitCallbacks(execute=True):
        return invitations.send_again(invitation=invitation, seen=invitation.invited_at, by=by, at=at)


def link() -> str:
    """The path of the link in the latest letter."""
    found = re.findall(r"http://127\.0\.0\.1:8000(/invitations/\S+/)", str(mail.outbox[-1].body))
    assert len(found) == 1
    return str(found[0])


def said(client: Client, path: str, *, status: int = 200) -> str:
    """What the page's reader sees, in one line."""
    response = client.get(path)
    assert response.status_code == status
    page = response.content.decode()
    main = page[page.index("<main") : page.index("</main>")]
    main = re.sub(r"</?bdi[^>]*>|[\u2068\u2069]", "", main)  # which keep a name's direction to itself
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", main)).split())


def roles(project: Project) -> dict[str, str]:
    return dict(Membership.objects.current().filter(project=project).values_list("user__email", "role"))


def who_is_signed_in(client: Client) -> str | None:
    return client.session.get("_auth_user_id")


# ---------------------------------------------------------------------------------------------- sending


def test_letter_says_who_invites_to_what_and_how_long(project: Project, lead: User) -> None:
    make.centre(name_en="Harbour Centre")
    invited(project, lead, name="Gwen")
    letter = mail.outbox[0]
    assert (letter.to, letter.subject) == ([GUEST], "Lena Lead invites you to a project of Harbour Centre")
    lines = letter.body.splitlines()
    assert [line in lines for line in ("Dear Gwen,", "reef: “Coral reefs”")] == [True, True]
    assert "Your role would be: Member. Runs jobs, and sees the project’s quotas, usage and statements." in lines
    assert "works once, and lasts until 29 Jun 2026, 12:00 HKT." in letter.body


def test_letter_is_in_the_language_chosen_or_in_that_of_who_is_known(project: Project, lead: User) -> None:
    make.centre(name_en="Harbour Centre", name_zh_hant="海港中心", name_zh_hans="海港中心(简)")
    make.person("known@example.org", language="zh-hans")
    invited(project, lead, language="zh-hant")
    invited(project, lead, "known@example.org", language="en")
    assert ["海港中心" in mail.outbox[0].body, "海港中心(简)" in mail.outbox[1].body] == [True, True]


def test_hostile_names_add_no_header_and_no_line(lead: User) -> None:
    project = make.project("trap", title="Title\r\n\r\nYour account is locked: http://evil.example.org\u202e")
    inviter = make.member(project=project, role=ProjectRole.LEAD, user=make.person("eve@example.org"))
    User.objects.filter(pk=inviter.pk).update(name="Eve\nBcc: victim.example")  # kept before names were checked
    row = invited(project, User.objects.get(pk=inviter.pk))
    Invitation.objects.update(name="Mal\r\nlory\u202e")
    sent_again(Invitation.objects.get(pk=row.pk), User.objects.get(pk=inviter.pk))
    message = mail.outbox[1].message()
    assert (message["To"], message["Bcc"]) == (GUEST, None)
    assert mail.outbox[1].subject == "eve@example.org invites you to a project of the supercomputing centre"
    lines = str(mail.outbox[1].body).splitlines()
    assert "Dear Mal lory," in lines
    assert "trap: “Title Your account is locked: http://evil.example.org”" in lines


@pytest.mark.parametrize(
    "kept",
    [
        "https://evil.example click here",
        "Pay at evil.example now",
        "write to eve@example.org",
        "www.evil",
        "Ｗｗｗ．ｅｖｉｌ．ｅｘａｍｐｌｅ",
        "例子。公司",
        "t.co",
        "Your password runs out today, open the page of the centre now " * 2,
    ],
)
def test_letter_greets_plainly_where_the_name_could_mislead(project: Project, lead: User, kept: str) -> None:
    row = invited(project, lead, name="Gwen")
    Invitation.objects.update(name=kept)  # kept before names were checked
    sent_again(Invitation.objects.get(pk=row.pk), lead)
    first, second = (str(letter.body) for letter in mail.outbox)
    assert ["Dear Gwen," in first, "Good day," in second, "Dear " in second] == [True, True, False]
    assert kept[:12] not in second


def test_name_of_the_invited_person_is_checked_where_it_is_given_and_where_it_is_chosen(
    project: Project, lead: User
) -> None:
    with pytest.raises(members.NotAName, match="without a web or e-mail address"):
        invited(project, lead, name="https://evil.example click here")
    row = invited(project, lead, name="  Gwen\u3000 Guest ")
    assert (row.name, len(mail.outbox)) == ("Gwen Guest", 1)
    client, path = Client(), link()
    answer = client.post(path, {**CHOSEN, "name": "Gwen\u202etseuG"})
    assert answer.context["form"].errors["name"] == [
        "The name holds a character that cannot be seen (U+202E). Type the name instead of pasting it."
    ]
    assert not User.objects.filter(email=GUEST).exists()
    client.post(path, {**CHOSEN, "name": " Zoe\u0308  \tGuest"})
    assert User.objects.get(email=GUEST).name == "Zo\u00eb Guest"


def test_only_a_hash_of_the_link_is_kept(project: Project, lead: User) -> None:
    row = invited(project, lead)
    token = link().split("/")[2]
    assert row.token_hash == invitations.hash_of(token) != token
    assert token not in str(list(Invitation.objects.values())) + str(list(Event.objects.values("changes")))


@pytest.mark.parametrize("days", [1, 3])
def test_link_lives_as_long_as_the_setting_says(project: Project, lead: User, settings: Settings, days: int) -> None:
    settings.INVITATION_DAYS = days
    assert invited(project, lead).expires_at == NOW + timedelta(days=days)


def test_letter_goes_only_when_the_transaction_commits(project: Project, lead: User) -> None:
    with TestCase.captureOnCommitCallbacks(execute=False):
        invitations.invite_to_project(project=project, email=GUEST, role=ProjectRole.MEMBER, by=lead, at=NOW)
    assert mail.outbox == []


class Broken(EmailBackend):
    """A mail server that is away."""

    def send_messages(self, messages: list[mail.EmailMessage]) -> int:  # type: ignore[override]
        raise ConnectionRefusedError


def test_letter_that_could_not_be_sent_is_noted_and_sent_again(
    project: Project, lead: User, settings: Settings
) -> None:
    make.person(GUEST)
    working, settings.EMAIL_BACKEND = settings.EMAIL_BACKEND, f"{__name__}.Broken"
    row = invited(project, lead)
    assert (row.undelivered_at, Invitation.objects.get().undelivered_at) == (NOW, NOW)
    assert Letter.objects.count() == 0
    settings.EMAIL_BACKEND = working
    sent_again(row, lead)
    assert Invitation.objects.get().undelivered_at is None
    assert list(Letter.objects.values_list("user__email", "subject", "sent_at")) == [
        (GUEST, mail.outbox[0].subject, NOW)
    ]


def refusal(act: Callable[[], object]) -> tuple[type[MemberError], str]:
    with pytest.raises(MemberError) as refused:
        act()
    return type(refused.value), str(refused.value)


def test_what_cannot_be_is_refused_by_name(project: Project, lead: User) -> None:
    make.member(project=project, user=make.person("inside@example.org"))
    invited(project, lead)
    assert refusal(lambda: invited(project, lead, "no address")) == (
        NotAnAddress,
        "“no address” is not an e-mail address.",
    )
    assert refusal(lambda: invited(project, lead, "Inside@example.org")) == (
        AlreadyMember,
        "inside@example.org belongs to the project already.",
    )
    assert refusal(lambda: invited(project, lead, "GUEST@example.org")) == (
        invitations.AlreadyInvited,
        "guest@example.org was invited already. Send the link again, or withdraw the invitation first.",
    )
    tenants.close_project(project=project, reason="over", by=None, at=NOW)
    assert refusal(lambda: invited(project, lead, "late@example.org"))[0] == ProjectClosed
    assert len(mail.outbox) == 1


@pytest.mark.parametrize("inviter", [*ProjectRole, None])
@pytest.mark.parametrize("role", ProjectRole)
def test_who_may_invite_as_what(project: Project, inviter: ProjectRole | None, role: ProjectRole) -> None:
    by = make.person() if inviter is None else make.member(project=project, role=inviter)
    may = inviter == ProjectRole.LEAD or (inviter == ProjectRole.MANAGER and role != ProjectRole.LEAD)
    if may:
        assert invited(project, by, role=role).role == role
    else:
        kind, sentence = refusal(lambda: invited(project, by, role=role))
        leads_only = inviter == ProjectRole.MANAGER
        assert kind == invitations.MayNotInvite
        assert sentence == (
            "Only a lead of the project can make somebody a lead."
            if leads_only
            else "Only leads and managers of the project can invite people to it."
        )
    assert Invitation.objects.count() == may


def test_inviting_does_not_tell_whether_the_address_has_an_account(project: Project, lead: User) -> None:
    closed = make.person("closed@example.org")
    User.objects.filter(pk=closed.pk).update(is_active=False)
    make.person("known@example.org")
    told = []
    for name in ("closed", "known", "unknown"):
        client = Client()
        client.force_login(lead)
        form = {"email": f"{name}@example.org", "name": "", "language": "en", "role": "member"}
        with TestCase.captureOnCommitCallbacks(execute=True):
            client.post("/projects/reef/members/invite/", form)
        Invitation.objects.exclude(email=f"{name}@example.org").delete()
        page = said(client, "/projects/reef/members/").replace(name, "…")
        told.append(page)
    assert told[0] == told[1] == told[2]
    assert "The invitation to …@example.org was sent." in told[0]


def test_a_project_has_only_so_many_unanswered_invitations(project: Project, lead: User) -> None:
    rows = [invited(project, lead, f"guest{n}@example.org") for n in range(invitations.MOST_UNANSWERED)]
    kind, sentence = refusal(lambda: invited(project, lead))
    assert kind == invitations.TooManyInvitations
    assert sentence.startswith("20 invitations of this project wait for an answer.")
    invitations.withdraw(invitation=rows[0], by=lead, at=NOW)
    assert invited(project, lead).email == GUEST


def test_a_person_causes_only_so_many_letters_a_day(project: Project, lead: User, settings: Settings) -> None:
    row = invited(project, lead)
    for nth in range(1, invitations.MOST_LETTERS_A_DAY):
        row = sent_again(row, lead, at=NOW + timedelta(minutes=nth))
    kind, sentence = refusal(lambda: sent_again(row, lead, at=NOW + timedelta(hours=23)))
    assert kind == invitations.TooManyInvitations
    assert sentence == "You have sent 50 invitations within 24 hours, and cannot send more before tomorrow."
    assert sent_again(row, lead, at=NOW + timedelta(hours=25)).invited_at == NOW + timedelta(hours=25)
    assert len(mail.outbox) == 51


# ---------------------------------------------------------------------------------------------- joining


def test_newcomer_makes_an_account_and_belongs(project: Project, lead: User) -> None:
    row = invited(project, lead, language="zh-hant", name="Gwen")
    client = Client()
    page = said(client, link())
    assert "Lena Lead invites you Project Coral reefs" in page
    assert "You will sign in with this e-mail address: guest@example.org" in page
    response = client.post(link(), CHOSEN)
    user = User.objects.get(email=GUEST)
    assert (response.status_code, response["Location"]) == (302, "/projects/reef/")
    assert (user.name, user.language, user.check_password(PASSWORD)) == ("Gwen Guest", "zh-hant", True)
    assert who_is_signed_in(client) == str(user.pk)
    assert roles(project) == {lead.email: "lead", GUEST: "member"}
    assert list(user.memberships.values_list("since_at", "added_by")) == [(NOW, lead.pk)]
    row.refresh_from_db()
    assert (row.accepted_by, row.accepted_at, row.fate(at=NOW)) == (user, NOW, Fate.ACCEPTED)
    event = Event.objects.get(act="accept_invitation")
    assert (event.actor, event.changes) == (
        user,
        {"project": "reef", "person": GUEST, "role": "member", "invited_by": lead.email},
    )
    assert said(client, "/projects/reef/members/").count("Gwen Guest") == 1


@pytest.mark.parametrize(
    ("typed", "field", "sentence"),
    [
        ({"password2": "another harbour of boats"}, "password2", "The two passwords are not the same."),
        ({"password1": "short", "password2": "short"}, "password1", "This password is too short."),
        ({"password1": GUEST, "password2": GUEST}, "password1", "The password is too similar to the"),
        ({"name": " "}, "name", "Write your name."),
    ],
)
def test_newcomer_is_told_what_is_wrong_and_nothing_is_made(
    project: Project, lead: User, typed: dict[str, str], field: str, sentence: str
) -> None:
    invited(project, lead)
    client = Client()
    response = client.post(link(), CHOSEN | typed)
    assert response.status_code == 200
    assert response.context["form"].errors[field][0].startswith(sentence)
    assert (User.objects.filter(email=GUEST).exists(), who_is_signed_in(client)) == (False, None)
    assert response.context["form"]["name"].value() == (CHOSEN | typed)["name"]


def test_person_without_a_password_chooses_one(project: Project, lead: User) -> None:
    user = members.add_person(email=GUEST, name="Gwen", by=None, at=NOW)
    invited(project, lead)
    client = Client()
    client.post(link(), CHOSEN)
    user.refresh_from_db()
    assert (user.name, user.check_password(PASSWORD), roles(project)[GUEST]) == ("Gwen Guest", True, "member")


def test_known_person_signs_in_and_joins_with_one_click(project: Project, lead: User) -> None:
    user = make.person(GUEST)
    invited(project, lead, role=ProjectRole.VIEWER)
    client, path = Client(), link()
    page = client.get(path).content.decode()
    sign_in = f"{reverse('account_login')}?next={path}"
    assert sign_in in page
    client.post(path, CHOSEN)  # a password is not chosen by a link where there is one
    user.refresh_from_db()
    assert (user.check_password(make.PASSWORD), GUEST in roles(project)) == (True, False)
    response = client.post(sign_in, {"login": GUEST, "password": make.PASSWORD})
    assert response["Location"] == path
    assert "You are signed in as guest@example.org." in said(client, path)
    assert client.post(path)["Location"] == "/projects/reef/"
    assert roles(project)[GUEST] == "viewer"


def test_looking_changes_nothing(project: Project, lead: User) -> None:
    user = make.person(GUEST)
    invited(project, lead)
    before = (list(Invitation.objects.values()), Event.objects.count(), Membership.objects.count())
    client = Client()
    for _visit in range(3):
        client.get(link())
        client.head(link())
        client.force_login(user)
    assert (list(Invitation.objects.values()), Event.objects.count(), Membership.objects.count()) == before


def test_somebody_else_does_not_join_and_is_shown_the_way(project: Project, lead: User, client: Client) -> None:
    other = make.person("other@example.org")
    invited(project, lead)
    client.force_login(other)
    page = said(client, link())
    assert "The invitation is for guest@example.org, and you are signed in as other@example.org." in page
    assert client.post(link()).status_code == 403
    response = client.post(reverse("account_logout"), {"next": link()})
    assert (response["Location"], who_is_signed_in(client)) == (link(), None)
    assert sorted(roles(project)) == [lead.email]


def test_link_works_once(project: Project, lead: User) -> None:
    invited(project, lead)
    Client().post(link(), CHOSEN)
    other = Client()
    assert "This link was used already" in said(other, link(), status=410)
    assert other.post(link(), CHOSEN | {"name": "Mallory"}).status_code == 410
    assert (User.objects.get(email=GUEST).name, who_is_signed_in(other)) == ("Gwen Guest", None)


def test_double_click_on_join_leads_to_the_project(project: Project, lead: User, client: Client) -> None:
    user = make.person(GUEST)
    invited(project, lead)
    client.force_login(user)
    assert [client.post(link())["Location"] for _click in range(2)] == ["/projects/reef/"] * 2
    assert (user.memberships.count(), Event.objects.filter(act="accept_invitation").count()) == (1, 1)


def test_link_dies_on_its_last_instant(project: Project, lead: User, clock: time_machine.Traveller) -> None:
    row = invited(project, lead)
    clock.move_to(row.expires_at - timedelta(seconds=1))
    assert "Make your account" in said(Client(), link())
    clock.move_to(row.expires_at)
    page = said(Client(), link(), status=410)
    assert "This link has run out Ask Lena Lead, or another lead or manager of Coral reefs" in page
    assert Client().post(link(), CHOSEN).status_code == 410
    assert not User.objects.filter(email=GUEST).exists()


def test_new_link_kills_the_old_one_and_wakes_an_expired_invitation(project: Project, lead: User) -> None:
    row = invited(project, lead, at=NOW - timedelta(days=20))
    old = link()
    assert "This link has run out" in said(Client(), old, status=410)
    sent_again(row, lead)
    assert "There is no such invitation" in said(Client(), old, status=404)
    assert "Make your account" in said(Client(), link())


def test_withdrawn_invitation_is_dead(project: Project, lead: User, manager: User) -> None:
    row = invited(project, lead)
    invitations.withdraw(invitation=row, by=manager, at=NOW)
    assert "This invitation was withdrawn" in said(Client(), link(), status=410)
    assert refusal(lambda: sent_again(row, lead))[0] == invitations.NoLongerOpen
    assert invited(project, lead).pk != row.pk  # the address can be invited anew


def test_invitation_is_worth_what_its_sender_may_do(project: Project, lead: User, manager: User) -> None:
    row = invited(project, manager)
    members.remove_member(membership=manager.memberships.get(), by=lead, at=NOW)
    page = said(Client(), link(), status=410)
    assert "This invitation does not count any more" in page
    assert "may not invite people to Coral reefs in this role any more" in page
    assert Client().post(link(), CHOSEN).status_code == 410
    assert row.email not in roles(project)
    sent_again(row, lead)  # a lead stands behind it now
    assert "Lena Lead invites you" in said(Client(), link())


def test_invitation_as_lead_dies_with_the_senders_leadership(project: Project, lead: User) -> None:
    second = make.member(project=project, role=ProjectRole.LEAD)
    invited(project, second, role=ProjectRole.LEAD)
    members.change_role(membership=second.memberships.get(), role=ProjectRole.MANAGER, by=lead, at=NOW)
    assert "This invitation does not count any more" in said(Client(), link(), status=410)


def test_closed_project_takes_nobody(project: Project, lead: User) -> None:
    invited(project, lead)
    tenants.close_project(project=project, reason="over", by=None, at=NOW)
    assert "This project is closed" in said(Client(), link(), status=410)


def test_closed_account_joins_nothing(project: Project, lead: User) -> None:
    user = members.add_person(email=GUEST, name="Gwen", by=None, at=NOW)
    row = invited(project, lead)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert "This account is closed" in said(Client(), link(), status=403)
    assert Client().post(link(), CHOSEN).status_code == 403
    found = invitations.find(link().split("/")[2])
    assert found == row
    with pytest.raises(AccountClosed):
        invitations.accept_as_newcomer(invitation=found, name="Gwen", password=PASSWORD, at=NOW)
    assert not User.objects.get(pk=user.pk).has_usable_password()


@pytest.mark.parametrize("token", ["unknown", "x" * 5_000, "%00", "a.b~c", "' OR 1=1"])
def test_unknown_and_malformed_links_look_the_same(client: Client, token: str) -> None:
    assert "There is no such invitation The link may have been cut off" in said(
        client, f"/invitations/{token}/", status=404
    )


def test_link_leaves_the_page_by_no_referrer_cache_or_log(
    project: Project, lead: User, caplog: pytest.LogCaptureFixture
) -> None:
    invited(project, lead)
    response = Client().get(link())
    assert response["Referrer-Policy"] == "same-origin"
    assert "no-store" in response["Cache-Control"]
    assert not re.findall(r'(?:src|href|action)="https?://', response.content.decode())
    line = f"Forbidden (CSRF token missing.): {link()}"
    assert without_private_links(line) == "Forbidden (CSRF token missing.): /invitations/…/"


# ---------------------------------------------------------------------------------------------- again


def test_second_click_on_send_again_sends_nothing(project: Project, lead: User, client: Client) -> None:
    row = invited(project, lead, at=NOW - timedelta(days=1))
    client.force_login(lead)
    form = {"seen": row.invited_at.isoformat()}
    with TestCase.captureOnCommitCallbacks(execute=True):
        for _click in range(2):
            client.post(f"/projects/reef/members/invitations/{row.pk}/again/", form)
    assert len(mail.outbox) == 2
    assert "A new link was sent to guest@example.org a moment ago." in said(client, "/projects/reef/members/")


def test_letters_of_forgotten_passwords_are_on_record(client: Client) -> None:
    user = make.person()
    client.post(reverse("account_reset_password"), {"email": user.email})
    assert list(Letter.objects.values_list("user", "subject", "sent_at")) == [(user.pk, mail.outbox[0].subject, NOW)]
