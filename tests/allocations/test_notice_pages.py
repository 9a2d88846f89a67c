"""The page about one's letters, the commands that send them, and the night."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from html import unescape
from io import StringIO

import pytest
import time_machine
from django.core import mail
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from allocations import notices
from allocations.management.commands.nightly import Step
from allocations.models import Allocation, Notice, NoticeOptOut
from centre import members
from centre.models import Letter, User
from centre.permissions import ProjectRole, StaffRole
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.page]
NOW = datetime(2026, 6, 15, 4, 0, tzinfo=UTC)  # noon in Hong Kong
TODAY = date(2026, 6, 15)
PAGE_QUERIES = 8
"""Session, person, what is declined, how many letters, this page of them, staff roles, what they told, the centre."""


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


def told_lead(allocation: Allocation, **person: str) -> User:
    return make.member(project=allocation.project, role=ProjectRole.LEAD, user=make.person(**person))


def text_of(client: Client, page_number: int = 1) -> str:
    page = client.get("/notices/", {"page": page_number}).content.decode()
    main = page[page.index("<main") : page.index("</main>")]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", main)).split())


def letters_sent() -> None:
    notices.find_due(at=NOW)
    notices.send(at=NOW)


def test_person_declines_a_letter_and_wants_it_again(client: Client) -> None:
    user = make.person()
    client.force_login(user)
    form = client.get("/notices/").context["form"]
    assert form["wanted"].value() == ["used_share", "days_left"]

    response = client.post("/notices/", {"wanted": ["used_share"]})

    assert (response.status_code, response["Location"]) == (302, "/notices/")
    assert list(NoticeOptOut.objects.values_list("user", "kind", "since")) == [(user.pk, "days_left", NOW)]
    assert "Saved. It counts from tonight’s letters on." in text_of(client)
    form = client.get("/notices/").context["form"]
    assert form["wanted"].value() == ["used_share"]
    client.post("/notices/", {"wanted": ["used_share", "days_left"]})
    assert list(NoticeOptOut.objects.all()) == []


def test_letter_that_cannot_be_declined_is_no_choice(client: Client) -> None:
    client.force_login(make.person())
    response = client.post("/notices/", {"wanted": ["taken_back"]})
    assert (response.status_code, list(response.context["form"].errors)) == (200, ["wanted"])
    assert list(NoticeOptOut.objects.all()) == []


def test_person_chooses_the_language_of_their_letters_and_letters_follow(client: Client) -> None:
    lead = told_lead(make.allocation(end_on=TODAY))
    client.force_login(lead)
    assert client.get("/notices/").context["language"]["language"].value() == "en"

    response = client.post("/notices/", {"language": "zh-hant"})

    assert (response.status_code, response["Location"]) == (302, "/notices/")
    assert "Saved. Your letters are written in this language from now on." in text_of(client)
    assert client.get("/notices/").context["language"]["language"].value() == "zh-hant"
    letters_sent()
    assert mail.outbox[-1].to == [lead.email]
    assert not mail.outbox[-1].body.isascii()
    assert "Good day," not in mail.outbox[-1].body
    assert list(NoticeOptOut.objects.all()) == []  # the other form of the page is left as it was


@pytest.mark.parametrize("language", ["", "tlh"])
def test_unknown_language_is_refused_in_words_and_changes_nothing(client: Client, language: str) -> None:
    user = make.person()
    client.force_login(user)
    response = client.post("/notices/", {"language": language})
    assert (response.status_code, response.context["language"].errors) == (
        200,
        {"language": ["Choose one of the languages."]},
    )
    assert User.objects.get(pk=user.pk).language == "en"


def test_record_shows_what_letters_told_this_person_and_nobody_else(client: Client) -> None:
    allocation = make.allocation(project=make.project("mine"), reference="AWARD-1", end_on=TODAY + timedelta(days=9))
    lead = told_lead(allocation)
    told_lead(make.allocation(reference="AWARD-2", end_on=TODAY))
    letters_sent()
    client.force_login(lead)
    text = text_of(client)
    assert f"15 Jun 2026, 12:00 HKT {mail.outbox[0].subject} 14 days left · AWARD-1 · mine" in text
    assert [other in text for other in ("30 days left", "AWARD-2")] == [False, False]


def test_record_of_a_left_project_stays_and_leads_nowhere(client: Client) -> None:
    allocation = make.allocation(project=make.project("left-behind", lead=make.person()), end_on=TODAY)
    lead = told_lead(allocation)
    letters_sent()
    client.force_login(lead)
    assert 'href="/projects/left-behind/"' in client.get("/notices/").content.decode()
    members.remove_member(membership=lead.memberships.get(), by=None, at=NOW)
    page = client.get("/notices/").content.decode()
    assert ["left-behind" in page, 'href="/projects/left-behind/"' in page] == [True, False]


def test_record_is_empty_at_first(client: Client) -> None:
    client.force_login(make.person())
    assert "No letter yet" in text_of(client)


@pytest.mark.parametrize("rows", [1, 3])
def test_page_takes_the_same_queries_for_any_number_of_letters(
    client: Client, rows: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    user = make.person()
    for nth in range(rows):
        make.allocation(project=make.project(f"team-{nth}", lead=user), end_on=TODAY)
    letters_sent()
    client.force_login(user)
    with django_assert_num_queries(PAGE_QUERIES):
        page = client.get("/notices/").content.decode()
    assert page.count("7 days left") == rows


def test_record_is_paged_the_latest_first(client: Client) -> None:
    user = make.person()
    Letter.objects.bulk_create(
        Letter(user=user, subject=f"letter {days} <b>", sent_at=NOW - timedelta(days=days)) for days in range(30)
    )
    Letter.objects.create(user=make.person(), subject="letter of another", sent_at=NOW)
    client.force_login(user)
    pages = [re.findall(r"letter (\w+) <b>", text_of(client, page)) for page in (1, 2)]
    assert pages == [[str(days) for days in range(25)], [str(days) for days in range(25, 30)]]


def test_auditor_reads_notices_in_the_administration(client: Client) -> None:
    told_lead(make.allocation(reference="AWARD-9", end_on=TODAY), email="lead@example.org")
    letters_sent()
    client.force_login(make.staff(StaffRole.AUDITOR))
    page = client.get("/admin/allocations/notice/?q=AWARD-9").content.decode()
    assert [page.count(text) for text in ("7 days left", "14 days left", "30 days left")] == [1, 1, 1]
    assert client.get("/admin/allocations/notice/add/").status_code == 403
    shown = {
        progress: client.get("/admin/allocations/notice/", {"progress": progress}).context["cl"].result_count
        for progress in ("waiting", "sent", "over")
    }
    assert shown == {"waiting": 0, "sent": 3, "over": 0}


# ------------------------------------------------------------------------------------------------ commands


def test_dry_run_prints_who_would_get_what_and_changes_nothing() -> None:
    told_lead(make.allocation(reference="AWARD-1", end_on=TODAY + timedelta(days=9)), email="lead@example.org")
    out = StringIO()
    call_command("send_notices", dry_run=True, stdout=out)
    assert out.getvalue().splitlines() == [
        "lead@example.org: AWARD-1: 14 days left",
        "Letters that would be sent: 1. Nothing was changed.",
    ]
    assert (Notice.objects.count(), mail.outbox) == (0, [])


def test_command_sends_letters_once() -> None:
    told_lead(make.allocation(end_on=TODAY))
    said = []
    for _again in range(2):
        out = StringIO()
        call_command("send_notices", stdout=out)
        said.append(out.getvalue().partition(".")[0])
    assert said == ["Letters sent: 1", "Letters sent: 0"]
    assert len(mail.outbox) == 1


def test_command_names_whom_it_could_not_reach(settings: Settings) -> None:
    settings.EMAIL_BACKEND = "tests.allocations.letters.BrokenBackend"
    told_lead(make.allocation(end_on=TODAY), email="a@lost.example.org")
    with pytest.raises(CommandError, match=r"tried again the next time: 1 \(a@lost\.example\.org\)\.$"):
        call_command("send_notices", stdout=StringIO())


def test_night_runs_its_steps_in_order_and_says_what_came_of_them() -> None:
    told_lead(make.allocation(end_on=TODAY))
    out = StringIO()
    call_command("nightly", stdout=out)
    steps = [line for line in out.getvalue().splitlines() if line.endswith(":")]
    assert steps == [
        *("import_received:", "close_periods:", "take_back_unused:", "issue_statements:", "lapse_requests:"),
        *("send_notices:", "tidy_up:"),
    ]
    assert len(mail.outbox) == 1


def test_night_fails_in_the_end_naming_the_step(settings: Settings) -> None:
    settings.EMAIL_BACKEND = "tests.allocations.letters.BrokenBackend"
    told_lead(make.allocation(end_on=TODAY), email="a@lost.example.org")
    err = StringIO()
    with pytest.raises(CommandError, match=r"^Steps that failed: send_notices\.$") as failed:
        call_command("nightly", stdout=StringIO(), stderr=err)
    assert failed.value.returncode == 1
    assert "send_notices failed: Letters to be tried again" in err.getvalue()


def test_step_that_fails_in_any_way_does_not_stop_the_next() -> None:
    err, failed, done = StringIO(), list[str](), list[str]()
    command = BaseCommand(stdout=StringIO(), stderr=err)
    for name, wrong in (("refused", CommandError("No.")), ("broken", KeyError("lost")), ("left", SystemExit(3))):
        with Step(command, name, failed):
            raise wrong
    with Step(command, "fine", failed):
        done.append("fine")
    assert (failed, done) == (["refused", "broken", "left"], ["fine"])
    assert err.getvalue().startswith("refused failed: No.\nbroken failed: Traceback")
    with pytest.raises(KeyboardInterrupt), Step(command, "interrupted", failed):
        raise KeyboardInterrupt
