"""Letters about GPU time: who is owed one, that each gets it once, and what it says."""

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from threading import Barrier
from time import sleep
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.core.mail import EmailMessage
from django.core.mail.backends.locmem import EmailBackend
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.formats import date_format
from django.utils.translation import gettext, override
from pytest_django import Settings

from allocations import ledger, notices
from allocations.emails import about_gpu_time
from allocations.models import Allocation, Notice, NoticeOptOut, TakeBackExemption, TakeBackRule, TakeBackWarning
from centre import emails, members
from centre.models import Event, User
from centre.permissions import ProjectRole
from tests import make

on_rows = pytest.mark.django_db
NOW = datetime(2026, 6, 15, 4, 0, tzinfo=UTC)  # noon in Hong Kong
TODAY = date(2026, 6, 15)
NIGHT = timedelta(days=1)
Kind = Notice.Kind


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


class SlowBackend(EmailBackend):
    """A mail server that takes its time, so that two runs meet."""

    def send_messages(self, messages: Sequence[EmailMessage]) -> int:
        sleep(0.3)
        return super().send_messages(messages)


class BrokenBackend(EmailBackend):
    """A mail server that cannot reach people at lost.example.org."""

    def send_messages(self, messages: Sequence[EmailMessage]) -> int:
        if any(address.endswith("@lost.example.org") for message in messages for address in message.to):
            raise ConnectionRefusedError
        return super().send_messages(messages)


class Killed(BaseException):
    """The operator's kill, as far as a test can be killed and go on."""


class KillingBackend(EmailBackend):
    """Between two letters the run is killed."""

    def send_messages(self, messages: Sequence[EmailMessage]) -> int:
        if mail.outbox:
            raise Killed
        return super().send_messages(messages)


def lead_of(allocation: Allocation, **person: str) -> User:
    return make.member(project=allocation.project, role=ProjectRole.LEAD, user=make.person(**person))


def use(allocation: Allocation, hours: int) -> None:
    run = make.run(allocation=allocation, hours=hours, start_at=NOW - timedelta(days=50))
    make.imported(run, cluster=allocation.pool.cluster)


def top_up(allocation: Allocation, hours: int) -> None:
    ledger.top_up(
        allocation=allocation,
        seconds=hours * make.HOUR,
        by=make.person(),
        approved_by=make.person(),
        at=NOW,
        key="more",
        reason="more is needed",
        source_kind="test",
    )


def night(at: datetime = NOW) -> list[str]:
    """One night's run; the bodies of its letters."""
    before = len(mail.outbox)
    notices.find_due(at=at)
    notices.send(at=at)
    return [str(letter.body) for letter in mail.outbox[before:]]


def standing() -> list[tuple[Any, ...]]:
    rows = Notice.objects.standing().order_by("kind", "threshold", "user")
    return list(rows.values_list("kind", "threshold"))


def told(body: str) -> list[str]:
    """The sentences that a letter tells, without figures and advice."""
    return [line[2:] for line in body.splitlines() if line.startswith("* ")]


# ------------------------------------------------------------------------------------------------ who is owed


@on_rows
def test_letter_is_owed_to_leads_and_managers_once() -> None:
    allocation = make.allocation()
    lead = lead_of(allocation)
    manager = make.member(project=allocation.project, role=ProjectRole.MANAGER)
    make.member(project=allocation.project)
    make.member(project=allocation.project, role=ProjectRole.VIEWER)
    make.representative(tenant=allocation.project.tenant)
    User.objects.filter(pk=lead_of(allocation).pk).update(is_active=False)

    for _again in range(2):
        notices.owe(allocation=allocation, kind=Kind.USED_SHARE, threshold=75, at=NOW)

    owed = Notice.objects.order_by("user").values_list("allocation", "user", "kind", "threshold", "due_at")
    assert list(owed) == [(allocation.pk, person.pk, "used_share", 75, NOW) for person in (lead, manager)]


@on_rows
def test_taking_back_is_told_to_representatives_of_that_tenant_too() -> None:
    allocation = make.allocation()
    lead = lead_of(allocation)
    signs = make.representative(tenant=allocation.project.tenant)
    make.project(tenant=allocation.project.tenant, lead=make.person())
    make.representative(tenant=make.tenant())

    notices.owe(allocation=allocation, kind=Kind.TAKE_BACK_WARNED, at=NOW)

    assert sorted(Notice.objects.values_list("user", flat=True)) == [lead.pk, signs.pk]


@on_rows
def test_declined_letter_is_not_owed() -> None:
    allocation = make.allocation()
    NoticeOptOut.objects.create(user=lead_of(allocation), kind=Kind.DAYS_LEFT, since=NOW)

    for kind in Kind:
        notices.owe(allocation=allocation, kind=kind, at=NOW)

    kinds = Notice.objects.order_by("pk").values_list("kind", flat=True)
    assert list(kinds) == ["used_share", "take_back_warned", "taken_back"]


# ------------------------------------------------------------------------------------------------ what is due


@on_rows
@pytest.mark.parametrize(
    ("seconds", "crossed"), [(74_999, []), (75_000, [75]), (89_999, [75]), (90_000, [75, 90]), (100_000, [75, 90, 100])]
)
def test_share_is_crossed_to_the_second(seconds: int, crossed: list[int]) -> None:
    allocation = Allocation(
        granted_seconds=100_000, used_seconds=seconds, start_on=TODAY - NIGHT, end_on=TODAY + timedelta(days=99)
    )
    assert notices.crossed_by(allocation, on=TODAY) == [("used_share", percent) for percent in crossed]


@on_rows
@pytest.mark.parametrize(("days", "crossed"), [(31, []), (30, [30]), (15, [30]), (14, [30, 14]), (1, [30, 14, 7])])
def test_days_left_are_crossed_to_the_day(days: int, crossed: list[int]) -> None:
    lead_of(make.allocation(end_on=TODAY + timedelta(days=days - 1)))
    night()
    assert standing() == [("days_left", left) for left in sorted(crossed)]


@on_rows
def test_days_are_those_of_the_cluster() -> None:
    """At seven in the evening in Hong Kong it is already tomorrow on Kiritimati, where 30 days are left."""
    pool = make.pool(cluster=make.cluster(time_zone="Pacific/Kiritimati"))
    lead_of(make.allocation(pool=pool, end_on=TODAY + timedelta(days=30)))
    at = NOW.replace(hour=11)
    notices.find_due(at=at)
    assert standing() == [("days_left", 30)]


@on_rows
def test_closed_ended_and_empty_allocations_owe_nothing() -> None:
    closed = make.allocation(end_on=TODAY)
    Allocation.objects.filter(pk=closed.pk).update(state=Allocation.State.CLOSED)
    ended = make.allocation(end_on=TODAY - NIGHT)
    later = make.allocation(start_on=TODAY + NIGHT, end_on=TODAY + NIGHT)
    for allocation in (closed, ended, later):
        lead_of(allocation)
    notices.find_due(at=NOW)
    assert standing() == []
    lead_of(make.allocation(end_on=TODAY))  # the control
    notices.find_due(at=NOW)
    assert standing() == [("days_left", 7), ("days_left", 14), ("days_left", 30)]


@on_rows
def test_missed_nights_are_caught_up_with_one_letter_and_nothing_is_told_later() -> None:
    allocation = make.allocation(hours=100, end_on=TODAY + timedelta(days=5))
    lead_of(allocation)
    use(allocation, 91)

    (body,) = night()

    assert told(body) == ["6 days are left, today included.", "91 % of the GPU-hours are used."]
    assert standing() == [*(("days_left", days) for days in (7, 14, 30)), ("used_share", 75), ("used_share", 90)]
    assert night(NOW + NIGHT) == []


@on_rows
def test_each_threshold_is_told_once_as_it_is_crossed() -> None:
    allocation = make.allocation(hours=100)
    lead_of(allocation)
    letters = []
    for hours in (50, 25, 15, 5, 10):  # 50, 75, 90, 95, 105 %
        use(allocation, hours)
        letters.append([told(body) for body in night()])
    assert letters == [
        [],
        [["75 % of the GPU-hours are used."]],
        [["90 % of the GPU-hours are used."]],
        [],
        [["All GPU-hours are used, and 5 more."]],
    ]


@on_rows
def test_top_up_arms_the_letter_again() -> None:
    allocation = make.allocation(hours=100)
    lead_of(allocation)
    use(allocation, 91)
    night()
    top_up(allocation, 20)  # 91 of 120: 75 % still holds, 90 % does not
    assert night() == []
    assert standing() == [("used_share", 75)]
    assert list(Notice.objects.filter(cleared_at=NOW).values_list("kind", "threshold")) == [("used_share", 90)]
    use(allocation, 17)

    (body,) = night()

    assert told(body) == ["90 % of the GPU-hours are used."]
    assert standing() == [("used_share", 75), ("used_share", 90)]


@on_rows
def test_longer_period_arms_the_letter_again() -> None:
    allocation = make.allocation(end_on=TODAY + timedelta(days=5))
    lead_of(allocation)
    night()
    Allocation.objects.filter(pk=allocation.pk).update(end_on=TODAY + timedelta(days=20))
    assert night() == []
    assert standing() == [("days_left", 30)]
    (body,) = night(NOW + 7 * NIGHT)
    assert told(body) == ["14 days are left, today included."]


@on_rows
def test_who_joins_later_is_told_what_stands_once() -> None:
    allocation = make.allocation(end_on=TODAY + timedelta(days=9))
    lead_of(allocation)
    night()
    joined = lead_of(allocation, email="joined@example.org")
    (body,) = night()
    assert mail.outbox[-1].to == [joined.email]
    assert told(body) == ["10 days are left, today included."]
    assert night() == []


@on_rows
def test_who_left_or_may_not_sign_in_is_told_nothing_more() -> None:
    allocation = make.allocation(end_on=TODAY)
    left, closed, stays = (lead_of(allocation) for _each in range(3))
    notices.find_due(at=NOW)
    members.remove_member(membership=left.memberships.get(), by=None, at=NOW)
    User.objects.filter(pk=closed.pk).update(is_active=False)
    notices.send(at=NOW)
    assert [letter.to for letter in mail.outbox] == [[stays.email]]
    night(NOW + timedelta(hours=1))
    assert sorted(set(Notice.objects.standing().values_list("user", flat=True))) == [stays.pk]


@on_rows
def test_finding_takes_the_same_queries_for_any_number_of_allocations() -> None:
    counts = []
    for rows in (1, 3):
        for _each in range(rows):
            allocation = make.allocation(end_on=TODAY)
            lead_of(allocation)
            lead_of(allocation)
        with CaptureQueriesContext(connection) as asked:
            notices.find_due(at=NOW)
        counts.append(len([query for query in asked if "SAVEPOINT" not in query["sql"]]))
    assert len(standing()) == 4 * 2 * 3
    assert counts == [6, 6]  # allocations, team, declined, on record; settled warnings; what is new


# ------------------------------------------------------------------------------------------------ once


@on_rows
def test_undelivered_letter_goes_out_the_next_night_and_holds_nobody_up(settings: Settings) -> None:
    settings.EMAIL_BACKEND = f"{__name__}.BrokenBackend"
    allocation = make.allocation(end_on=TODAY)
    lost = lead_of(allocation, email="a@lost.example.org")
    reached = lead_of(allocation)
    notices.find_due(at=NOW)
    result = notices.send(at=NOW)
    assert (result.sent, result.undelivered) == ([reached], [lost])
    assert set(Notice.objects.filter(sent_at__isnull=True).values_list("user", flat=True)) == {lost.pk}
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"

    assert len(night(NOW + NIGHT)) == 1

    assert [letter.to for letter in mail.outbox] == [[reached.email], [lost.email]]
    assert set(Notice.objects.filter(user=lost).values_list("sent_at", flat=True)) == {NOW + NIGHT}


@on_rows
def test_address_that_cannot_be_written_holds_nobody_up() -> None:
    allocation = make.allocation(end_on=TODAY)
    broken, reached = lead_of(allocation), lead_of(allocation)
    User.objects.filter(pk=broken.pk).update(email="some\nbody@example.org")
    notices.find_due(at=NOW)
    result = notices.send(at=NOW)
    assert (result.sent, result.undelivered) == ([reached], [broken])


@on_rows
def test_killed_run_loses_nothing_and_repeats_nothing(settings: Settings) -> None:
    settings.EMAIL_BACKEND = f"{__name__}.KillingBackend"
    allocation = make.allocation(end_on=TODAY)
    people = [lead_of(allocation) for _each in range(3)]
    notices.find_due(at=NOW)
    with pytest.raises(Killed):
        notices.send(at=NOW)
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    night(NOW + NIGHT)
    assert [letter.to for letter in mail.outbox] == [[person.email] for person in people]


def letters_of_two_runs(send: Callable[[], object]) -> list[str]:
    """Two runs that begin at the same moment; to whom letters went."""
    start = Barrier(2)

    def run(_which: int) -> None:
        try:
            start.wait()
            send()
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, range(2)))
    return sorted(letter.to[0] for letter in mail.outbox)


@pytest.mark.usefixtures("committed")
def test_two_runs_at_once_send_each_letter_once(settings: Settings) -> None:
    settings.EMAIL_BACKEND = f"{__name__}.SlowBackend"
    allocation = make.allocation(end_on=TODAY)
    people = [lead_of(allocation) for _each in range(3)]

    def whole_night() -> None:
        notices.find_due(at=NOW)
        notices.send(at=NOW)

    assert letters_of_two_runs(whole_night) == sorted(person.email for person in people)


@pytest.mark.usefixtures("committed")
def test_two_careless_runs_at_once_would_send_twice(settings: Settings) -> None:
    """The control: reading what is unsent, sending it and marking it afterwards."""
    settings.EMAIL_BACKEND = f"{__name__}.SlowBackend"
    lead = lead_of(make.allocation(end_on=TODAY))
    notices.find_due(at=NOW)

    def careless() -> None:
        owed = list(Notice.objects.to_send().select_related("allocation__project", "allocation__pool__cluster"))
        emails.deliver([(lead, about_gpu_time(user=lead, owed=owed, warnings={}, books_as_of={}, at=NOW))])
        Notice.objects.filter(pk__in=[notice.pk for notice in owed]).update(sent_at=NOW)

    assert letters_of_two_runs(careless) == [lead.email] * 2


# ------------------------------------------------------------------------------------------------ what it says


@on_rows
@pytest.mark.parametrize("language", ["en", "zh-hant", "zh-hans"])
def test_letter_tells_everything_at_once_in_the_persons_language(language: str) -> None:
    user = make.person(name="Ada", language=language)
    nearly = make.allocation(project=make.project("nearly", lead=user), hours=100, reference="AWARD-1")
    use(nearly, 95)
    ends = make.allocation(project=make.project("ends", lead=user), end_on=TODAY + timedelta(days=4))

    (body,) = night()

    (letter,) = mail.outbox
    with override(language):
        greeting = gettext("Dear %(name)s,") % {"name": "Ada"}
        last_days = [date_format(allocation.end_on, "DATE_FORMAT") for allocation in (ends, nearly)]
    assert body.splitlines()[0] == greeting
    assert re.findall(r"http://127\.0\.0\.1:8000/\S+", body) == [
        f"http://127.0.0.1:8000/{page}/" for page in ("projects/ends", "projects/nearly", "notices")
    ]
    assert [day in body for day in last_days] == [True, True]
    assert "\n" not in letter.subject
    assert set(Notice.objects.values_list("sent_at", flat=True)) == {NOW}
    if language == "en":
        assert letter.subject == "GPU-hours: 2 allocations need a look"
        assert told(body) == ["5 days are left, today included.", "95 % of the GPU-hours are used."]
        assert "Used: 95 of 100 GPU-hours. Left: 5. (As of 15 Jun 2026, 12:00 HKT)" in body


@on_rows
def test_letter_of_one_allocation_says_in_the_subject_what_is_pressing() -> None:
    lead_of(make.allocation(reference="AWARD-7", end_on=TODAY))
    night()
    assert mail.outbox[0].subject == "AWARD-7 (H800 GPUs): 1 day is left, today included."


@on_rows
@pytest.mark.parametrize("language", ["en", "zh-hant", "zh-hans"])
def test_hostile_names_stay_on_their_line(language: str) -> None:
    user = make.person(name="Eve\r\nBcc: all@example.org", language=language)
    title = "Free GPUs\r\n\r\n* Sign in at http://evil.example.org\u2028\u202enow <b>{{ 7|add:7 }}</b>"
    project = make.project("hostile", title=title, lead=user)
    make.allocation(project=project, end_on=TODAY)

    (body,) = night()

    assert len(told(body)) == 1
    assert [line for line in body.splitlines() if "evil" in line] == [
        "hostile: Free GPUs * Sign in at http://evil.example.org now <b>{{ 7|add:7 }}</b>"
    ]
    assert [line for line in body.splitlines() if line.startswith(("Bcc", "Sign"))] == []


@on_rows
def test_take_back_letters_say_what_is_taken_and_when() -> None:
    allocation = make.allocation(hours=100)
    lead_of(allocation)
    rule = TakeBackRule.objects.create(
        pool=allocation.pool, funding="internal", from_on=TODAY, reason="idle", asked_by=make.person(), asked_at=NOW
    )
    warning = TakeBackWarning.objects.create(
        allocation=allocation,
        rule=rule,
        checked_on=TODAY - NIGHT,
        used_seconds=10 * make.HOUR,
        planned_seconds=40 * make.HOUR,
        warned_at=NOW,
        due_on=TODAY + timedelta(days=14),
    )
    notices.owe(allocation=allocation, kind=Kind.TAKE_BACK_WARNED, at=NOW)
    (body,) = night()
    assert told(body) == ["Unused GPU-hours will be taken back on 29 Jun 2026, unless the use catches up."]
    assert "Until 14 Jun 2026 the team used 10 GPU-hours, where an even pace would have used 40." in body
    assert "until the last day: 41 GPU-hours if nothing more is used." in body  # 100 less 107/181 of 100

    warning.entry = allocation.entries.get()  # its 100 GPU-hours stand for what was taken
    warning.outcome, warning.settled_at = TakeBackWarning.Outcome.TAKEN, NOW
    warning.save()
    notices.owe(allocation=allocation, kind=Kind.TAKEN_BACK, at=NOW)
    (body,) = night(NOW + NIGHT)
    assert told(body) == ["100 unused GPU-hours were taken back on 16 Apr 2026."]


@on_rows
def test_warning_that_is_settled_before_its_letter_is_not_told() -> None:
    allocation = make.allocation()
    lead_of(allocation)
    rule = TakeBackRule.objects.create(
        pool=allocation.pool, funding="internal", from_on=TODAY, reason="idle", asked_by=make.person(), asked_at=NOW
    )
    told_of = {"allocation": allocation, "rule": rule, "checked_on": TODAY, "used_seconds": 0, "planned_seconds": 1}
    warning = TakeBackWarning.objects.create(**told_of, warned_at=NOW, due_on=TODAY)
    notices.owe(allocation=allocation, kind=Kind.TAKE_BACK_WARNED, at=NOW)
    TakeBackWarning.objects.filter(pk=warning.pk).update(outcome="caught_up", settled_at=NOW)
    assert night() == []


@on_rows
def test_warning_of_an_exempted_allocation_waits() -> None:
    allocation = make.allocation()
    lead_of(allocation)
    exemption = TakeBackExemption.objects.create(
        allocation=allocation, reason="a paper is due", by=make.person(), from_at=NOW
    )
    notices.owe(allocation=allocation, kind=Kind.TAKE_BACK_WARNED, at=NOW)
    assert night() == []
    TakeBackExemption.objects.filter(pk=exemption.pk).update(ended_at=NOW, ended_by=make.person())
    assert len(night()) == 1


# ------------------------------------------------------------------------------------------------ what one wants


@on_rows
def test_declined_letters_stop_at_once_and_are_not_doubled_when_wanted_again() -> None:
    allocation = make.allocation(hours=100, end_on=TODAY)
    lead = lead_of(allocation)
    night()
    notices.choose_letters(user=lead, wanted=[Kind.DAYS_LEFT], at=NOW)
    use(allocation, 80)
    assert night() == []
    assert list(NoticeOptOut.objects.values_list("user", "kind")) == [(lead.pk, "used_share")]
    notices.choose_letters(user=lead, wanted=list(Notice.CAN_BE_DECLINED), at=NOW)
    (body,) = night()
    assert told(body) == ["80 % of the GPU-hours are used."]


@on_rows
def test_letter_that_waits_when_its_kind_is_declined_is_not_sent() -> None:
    lead = lead_of(make.allocation(end_on=TODAY))
    notices.find_due(at=NOW)
    notices.choose_letters(user=lead, wanted=[], at=NOW)
    assert night() == []


@on_rows
def test_choosing_letters_is_recorded_once() -> None:
    user = make.person()
    for _again in range(2):
        notices.choose_letters(user=user, wanted=[Kind.USED_SHARE], at=NOW)
    events = Event.objects.filter(act="choose_letters")
    assert list(events.values_list("actor", "object_id", "changes")) == [
        (user.pk, str(user.pk), {"letters_declined": ["", "days_left"]})
    ]
