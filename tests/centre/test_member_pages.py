"""The page of a project's members: who sees what, who may change what, and what a change means at the next click."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
import time_machine
from django.core import mail
from django.test import Client, TestCase
from pytest_django import DjangoAssertNumQueries

from centre import invitations, members, tenants
from centre.models import ClusterUser, Event, Invitation, Membership, Project, User
from centre.permissions import ProjectRole, StaffRole
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.page]
NOW = datetime(2026, 6, 15, 4, 0, tzinfo=UTC)  # noon in Hong Kong
PAGE = "/projects/reef/members/"
LIST_QUERIES = 11
"""Session, person, staff roles, project, how many members, this page of them, their user names, invitations, names that
nobody has claimed, the tab of the subsidy, the centre."""
HISTORY_QUERIES = 9
"""Session, person, staff roles, project, how many memberships, this page of them, representatives, the tab of the
subsidy, the centre."""
ACTS = ("invite/", "user-names/", "{pk}/role/", "{pk}/remove/", "invitations/{invitation}/again/")


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def project() -> Project:
    return make.project("reef", title="Coral reefs", tenant=make.tenant(name_en="Lantau House"))


@pytest.fixture
def lead(project: Project) -> User:
    return make.member(project=project, role=ProjectRole.LEAD, user=make.person("lena@example.org", name="Lena Lead"))


@pytest.fixture
def manager(project: Project) -> User:
    return make.member(project=project, role=ProjectRole.MANAGER, user=make.person(name="Max Manager"))


@pytest.fixture
def member(project: Project) -> User:
    return make.member(project=project, user=make.person("mia@example.org", name="Mia Member"))


def said(client: Client, path: str = PAGE, *, status: int = 200) -> str:
    response = client.get(path)
    assert response.status_code == status
    page = response.content.decode()
    main = page[page.index("<main") : page.index("</main>")]
    main = re.sub(r"</?bdi[^>]*>|[\u2068\u2069]", "", main)  # which keep a name's direction to itself
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", main)).split())


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def role_of(user: User) -> str | None:
    return Membership.objects.current().filter(user=user).values_list("role", flat=True).first()


def part(user: User) -> int:
    """The number of the person's membership."""
    return Membership.objects.current().get(user=user).pk


def ran_as(name: str, project: Project, *, cluster: str = "hk") -> None:
    """A run of the project under a user name, charged to an allocation."""
    pool = make.pool(cluster=make.cluster(cluster))
    allocation = make.allocation(project=project, pool=pool)
    run = make.run(allocation=allocation, start_at=NOW - timedelta(days=2), user=name)
    make.imported(run, cluster=pool.cluster, as_of=NOW)


# ---------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("rows", [1, 3])
def test_pages_take_the_same_queries_for_any_number_of_rows(
    project: Project, lead: User, rows: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for nth in range(rows):
        make.cluster()
        make.member(project=project, name=f"Diver {nth}", cluster_user=f"name{nth}")
        make.representative(tenant=project.tenant)
        invitations.invite_to_project(
            project=project, email=f"guest{nth}@example.org", role=ProjectRole.MEMBER, by=lead, at=NOW
        )
        ran_as(f"nobody{nth}", project, cluster=f"hk{nth}")
    client = signed_in(lead)
    with django_assert_num_queries(LIST_QUERIES):
        text = said(client)
    assert len(re.findall(r"Diver \d", text)) == rows * 3  # the name stands beside each of the two acts as well
    assert [set(re.findall(what, text)) for what in (r"guest\d@", r"nobody\d \(hk")] == [
        {f"guest{nth}@" for nth in range(rows)},
        {f"nobody{nth} (hk" for nth in range(rows)},
    ]
    with django_assert_num_queries(HISTORY_QUERIES):
        said(client, f"{PAGE}history/")


def test_members_stand_by_role_with_since_when_and_names(project: Project, lead: User) -> None:
    make.cluster("hk")
    make.member(project=project, name="Aki", cluster_user="aki01")
    make.member(project=project, role=ProjectRole.VIEWER, name="Ada")
    text = said(signed_in(lead))
    found = re.findall(r"(Lena Lead|Aki|Ada) \S+@example.org (Lead|Member|Viewer) (\d+ \w+ 2026, \d\d:\d\d HKT)", text)
    assert found == [
        ("Lena Lead", "Lead", "15 Jun 2026, 12:00 HKT"),
        ("Aki", "Member", "15 Jun 2026, 12:00 HKT"),
        ("Ada", "Viewer", "15 Jun 2026, 12:00 HKT"),
    ]
    assert "aki01 (hk)" in text


def test_a_members_page_shows_names_and_no_way_to_change_anything(project: Project, lead: User, member: User) -> None:
    invitations.invite_to_project(project=project, email="guest@example.org", role=ProjectRole.MEMBER, by=lead, at=NOW)
    ran_as("nobody", project)
    text = said(signed_in(member))
    shown = ("Lena Lead", "Mia Member", "nobody (hk)", "Leads and managers of the project invite people")
    hidden = ("lena@example.org", "guest@example.org", "Invite somebody", "Change role", "Say whose it is")
    assert [words in text for words in (*shown, *hidden)] == [True] * 4 + [False] * 5


def test_who_had_access_when_names_everybody_with_from_and_until(project: Project, lead: User, member: User) -> None:
    make.representative(tenant=project.tenant, user=make.person(name="Rita Representative"))
    later = NOW + timedelta(days=1)
    members.change_role(membership=member.memberships.get(), role=ProjectRole.VIEWER, by=lead, at=later)
    members.remove_member(
        membership=Membership.objects.current().get(user=member), by=lead, at=later + timedelta(hours=1)
    )
    text = said(signed_in(lead), f"{PAGE}history/")
    then, after, gone = "15 Jun 2026, 12:00 HKT", "16 Jun 2026, 12:00 HKT", "16 Jun 2026, 13:00 HKT"
    assert f"Mia Member mia@example.org Viewer {after} {gone} Lena Lead Lena Lead" in text
    assert f"Mia Member mia@example.org Member {then} {after} the centre Lena Lead" in text
    assert f"Lena Lead lena@example.org Lead {then} now the centre –" in text
    assert re.search(rf"Representatives of Lantau House .* Rita Representative \S+ From {then} · until now", text)


# ---------------------------------------------------------------------------------------------- who may


@pytest.mark.parametrize("role", [ProjectRole.MEMBER, ProjectRole.VIEWER, "representative", StaffRole.AUDITOR])
def test_who_only_sees_is_refused_every_act(project: Project, lead: User, member: User, role: str) -> None:
    row = invitations.invite_to_project(
        project=project, email="guest@example.org", role=ProjectRole.MEMBER, by=lead, at=NOW
    )
    if role == "representative":
        user = make.representative(tenant=project.tenant)
    elif role in StaffRole.values:
        user = make.staff(StaffRole(role))
    else:
        user = make.member(project=project, role=ProjectRole(role))
    client = signed_in(user)
    assert [client.get(path).status_code for path in (PAGE, f"{PAGE}history/")] == [200, 200]
    before = Event.objects.count()
    for act in (*ACTS, "invitations/{invitation}/withdraw/"):
        path = PAGE + act.format(pk=part(member), invitation=row.pk)
        assert client.post(path, {"role": "viewer"}).status_code == 403
    assert Event.objects.count() == before


def test_removed_member_sees_nothing_at_the_next_click(project: Project, lead: User, member: User) -> None:
    make.allocation(project=project)
    theirs, leads = signed_in(member), signed_in(lead)
    pages = ["/projects/reef/", PAGE, "/projects/reef/ledger/", "/projects/reef/ledger.csv"]
    assert [theirs.get(page).status_code for page in pages] == [200] * 4
    path = f"{PAGE}{part(member)}/remove/"
    assert "Their jobs that run or wait go on" in said(leads, path)
    assert leads.post(path)["Location"] == PAGE
    assert [theirs.get(page).status_code for page in pages] == [404] * 4
    assert [theirs.post(PAGE + "invite/").status_code, role_of(member)] == [404, None]
    assert "Mia Member does not belong to the project any more." in said(leads)
    leads.post(path)  # a second click
    assert Event.objects.filter(act="remove_member").count() == 1


def test_lead_changes_a_role(project: Project, lead: User, member: User) -> None:
    client, path = signed_in(lead), f"{PAGE}{part(member)}/role/"
    text = said(client, path)
    assert "The role of Mia Member Now: Member." in text
    assert "Lead Answers for the project: invites and removes people, also leads" in text
    assert client.post(path, {"role": "manager"})["Location"] == PAGE
    assert (role_of(member), "Mia Member is now: Manager." in said(client)) == ("manager", True)
    assert client.post(path, {"role": "manager"})["Location"] == PAGE  # a second click
    assert Event.objects.filter(act="change_role").count() == 1


def test_manager_leaves_leads_alone(project: Project, lead: User, manager: User, member: User) -> None:
    client = signed_in(manager)
    for act in ("role", "remove"):
        assert client.get(f"{PAGE}{part(lead)}/{act}/").status_code == 403
        assert client.post(f"{PAGE}{part(lead)}/{act}/", {"role": "member"}).status_code == 403
    path = f"{PAGE}{part(member)}/role/"
    assert 'value="lead"' not in client.get(path).content.decode()
    for person, where in ((member, path), (manager, f"{PAGE}{part(manager)}/role/")):
        assert "Only a lead of the project can make somebody a lead." in unescape(
            client.post(where, {"role": "lead"}).content.decode()
        )
        assert role_of(person) != "lead"
    client.post(path, {"role": "viewer"})
    assert (role_of(lead), role_of(member)) == ("lead", "viewer")


def test_last_lead_cannot_go_and_goes_when_there_is_another(project: Project, lead: User, member: User) -> None:
    client = signed_in(lead)
    sentence = "lena@example.org is the only lead of reef. Make someone else the lead first."
    assert sentence in unescape(client.post(f"{PAGE}{part(lead)}/role/", {"role": "member"}).content.decode())
    client.post(f"{PAGE}{part(lead)}/remove/")
    assert (role_of(lead), sentence in said(client)) == ("lead", True)
    client.post(f"{PAGE}{part(member)}/role/", {"role": "lead"})
    assert "Leave Coral reefs?" in said(client, f"{PAGE}{part(lead)}/remove/")
    assert client.post(f"{PAGE}{part(lead)}/remove/")["Location"] == "/projects/"
    assert (role_of(lead), client.get(PAGE).status_code) == (None, 404)


def test_membership_of_another_project_is_not_there(project: Project, lead: User) -> None:
    other = make.member(project=make.project())
    client = signed_in(lead)
    assert [
        client.post(f"{PAGE}{part(other)}/{act}/", {"role": "viewer"}).status_code for act in ("role", "remove")
    ] == ([404, 404])
    assert role_of(other) == "member"


def test_what_somebody_else_changed_meanwhile_is_said(
    project: Project, lead: User, manager: User, member: User
) -> None:
    number = part(member)
    members.remove_member(membership=member.memberships.get(), by=manager, at=NOW)
    client = signed_in(lead)
    client.post(f"{PAGE}{number}/role/", {"role": "viewer"})
    assert "This had been changed by somebody else in the meantime." in said(client)
    assert role_of(member) is None


# ---------------------------------------------------------------------------------------------- inviting

FORM = {"email": "Guest@example.org", "name": "Gwen", "language": "zh-hant", "role": "member"}


def test_lead_invites_and_a_second_click_sends_nothing(project: Project, lead: User) -> None:
    client = signed_in(lead)
    with TestCase.captureOnCommitCallbacks(execute=True):
        assert [client.post(f"{PAGE}invite/", FORM)["Location"] for _click in range(2)] == [PAGE, PAGE]
    row = Invitation.objects.get()
    assert (row.email, row.name, row.language, row.role) == ("guest@example.org", "Gwen", "zh-hant", "member")
    assert [letter.to for letter in mail.outbox] == [["guest@example.org"]]
    text = said(client)
    assert "guest@example.org Gwen · Member Waiting for an answer Invited by Lena Lead · 15 Jun 2026, 12:00 HKT" in text
    assert "The link works until 29 Jun 2026, 12:00 HKT" in text


def test_wrong_input_is_said_and_kept(project: Project, lead: User) -> None:
    client = signed_in(lead)
    page = client.post(f"{PAGE}invite/", FORM | {"email": "gwen at home"})
    assert page.context["form"].errors == {"email": ["“gwen at home” is not an e-mail address."]}
    assert [page.context["form"][name].value() for name in FORM] == ["gwen at home", *list(FORM.values())[1:]]
    page = client.post(f"{PAGE}invite/", FORM | {"email": lead.email})
    assert page.context["form"].errors == {"email": ["lena@example.org belongs to the project already."]}
    assert Invitation.objects.count() == 0


@pytest.mark.parametrize(
    ("field", "typed", "told"),
    [
        ("email", "", "Write the e-mail address of the person."),
        ("email", "a\x00b@example.org", "“a\x00b@example.org” is not an e-mail address."),
        ("email", "a" * 250 + "@example.org", "The e-mail address is longer than 254 characters."),
        (
            "email",
            "用戶@例子.公司",
            "Before the @ of an e-mail address only Latin letters without accents, digits and signs can stand. "
            "Use another address of the person.",
        ),
        ("name", "x" * 201, "The name has 201 characters. Shorten it to 200 or fewer."),
        (
            "name",
            "Gwen\x00",
            "The name holds a character that cannot be seen (U+0000). Type the name instead of pasting it.",
        ),
        ("name", "www.evil", "Write the name alone, without a web or e-mail address."),
        ("language", "tlh", "Choose one of the languages."),
        ("language", "", "Choose a language for the letter."),
        ("role", "", "Choose a role."),
        ("role", "emperor", "Choose one of the roles."),
    ],
)
def test_each_wrong_input_is_told_in_one_sentence_of_ours(
    project: Project, lead: User, field: str, typed: str, told: str
) -> None:
    page = signed_in(lead).post(f"{PAGE}invite/", FORM | {field: typed})
    assert (page.status_code, page.context["form"].errors) == (200, {field: [told]})
    assert (Invitation.objects.count(), mail.outbox) == (0, [])


def test_a_domain_in_chinese_is_invited_in_its_ascii_form(project: Project, lead: User) -> None:
    with TestCase.captureOnCommitCallbacks(execute=True):
        answer = signed_in(lead).post(f"{PAGE}invite/", FORM | {"email": "guest@例子.公司"})
    assert (answer.status_code, [letter.to for letter in mail.outbox]) == (302, [["guest@xn--fsqu00a.xn--55qx5d"]])


def test_name_of_a_person_turns_no_text_beside_it(project: Project, lead: User, member: User) -> None:
    User.objects.filter(pk=member.pk).update(name="علی رضا")
    client, pk = signed_in(lead), part(member)
    for act in ("role", "remove"):
        assert "<bdi>علی رضا</bdi>" in client.get(f"{PAGE}{pk}/{act}/").content.decode()
    page = client.post(f"{PAGE}{pk}/role/", {"role": "viewer"}, follow=True).content.decode()
    assert "<bdi>\u2068علی رضا\u2069 is now: Viewer.</bdi>" in page


def test_undelivered_letter_stands_on_the_page(project: Project, lead: User) -> None:
    row = invitations.invite_to_project(
        project=project, email="guest@example.org", role=ProjectRole.MEMBER, by=lead, at=NOW
    )
    Invitation.objects.update(undelivered_at=NOW)
    client = signed_in(lead)
    assert "The letter could not be sent" in said(client)
    with TestCase.captureOnCommitCallbacks(execute=True):
        client.post(f"{PAGE}invitations/{row.pk}/again/", {"seen": row.invited_at.isoformat()})
    text = said(client)
    assert ["The letter could not be sent" in text, "was sent." in text] == [False, True]


@pytest.mark.parametrize("seen", ["", "yesterday", "2026-02-31T00:00", "2026-06-15T04:00:00"])
def test_unreadable_or_stale_form_sends_nothing(project: Project, lead: User, seen: str) -> None:
    row = invitations.invite_to_project(
        project=project, email="guest@example.org", role=ProjectRole.MEMBER, by=lead, at=NOW
    )
    with TestCase.captureOnCommitCallbacks(execute=True):
        signed_in(lead).post(f"{PAGE}invitations/{row.pk}/again/", {"seen": seen})
    assert mail.outbox == []


def test_withdrawing_takes_it_off_the_page(project: Project, lead: User) -> None:
    row = invitations.invite_to_project(
        project=project, email="guest@example.org", role=ProjectRole.MEMBER, by=lead, at=NOW
    )
    client = signed_in(lead)
    for _click in range(2):
        client.post(f"{PAGE}invitations/{row.pk}/withdraw/")
    assert "The invitation to guest@example.org was withdrawn." in said(client)
    assert "Waiting for an answer" not in said(client)
    assert Event.objects.filter(act="withdraw_invitation").count() == 1


def test_closed_project_invites_nobody(project: Project, lead: User) -> None:
    tenants.close_project(project=project, reason="over", by=None, at=NOW)
    client = signed_in(lead)
    assert client.post(f"{PAGE}invite/", FORM)["Location"] == PAGE
    text = said(client)
    assert ["nobody can be invited to it" in text, "Invite somebody" in text] == [True, False]


# ---------------------------------------------------------------------------------------------- user names


def test_lead_says_whose_a_name_is(project: Project, lead: User, member: User) -> None:
    ran_as("gpu77", project)
    client = signed_in(lead)
    cluster = project.allocations.get().pool.cluster
    form = {"name": f"{cluster.pk}:gpu77", "member": str(member.pk)}
    assert client.post(f"{PAGE}user-names/", form)["Location"] == PAGE
    assert list(ClusterUser.objects.values_list("cluster__code", "name", "user")) == [("hk", "gpu77", member.pk)]
    text = said(client)
    assert "Runs of gpu77 (hk) are now shown as those of Mia Member." in text
    assert "User names that nobody has claimed" not in text


def test_name_that_ran_elsewhere_is_not_given_away(project: Project, lead: User, member: User) -> None:
    ran_as("shared", project)
    own = project.allocations.get()
    other = make.allocation(pool=own.pool)
    make.imported(
        make.run(allocation=other, start_at=NOW - timedelta(days=2), user="shared"), cluster=own.pool.cluster, as_of=NOW
    )
    form = {"name": f"{own.pool.cluster_id}:shared", "member": str(member.pk)}
    page = signed_in(lead).post(f"{PAGE}user-names/", form)
    assert page.context["form"].errors == {
        "name": ["shared has also run outside this project. Ask the centre to say whose it is."]
    }
    assert ClusterUser.objects.count() == 0


@pytest.mark.parametrize("whose", ["a name that never ran here", "a person of another team"])
def test_forged_names_and_people_are_refused(project: Project, lead: User, member: User, whose: str) -> None:
    ran_as("gpu77", project)
    ran_as("foreign", make.project(), cluster="other")
    cluster = project.allocations.get().pool.cluster
    stranger = make.person()
    if whose == "a name that never ran here":
        form, wrong = {"name": f"{cluster.pk}:foreign", "member": str(member.pk)}, "name"
    else:
        form, wrong = {"name": f"{cluster.pk}:gpu77", "member": str(stranger.pk)}, "member"
    page = signed_in(lead).post(f"{PAGE}user-names/", form)
    assert list(page.context["form"].errors) == [wrong]
    assert ClusterUser.objects.count() == 0
