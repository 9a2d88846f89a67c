"""Letters about GPU time: that each goes out once, and what it says."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
import time_machine
from django.core import mail
from django.db import connection
from django.utils.formats import date_format
from django.utils.translation import gettext, override
from pytest_django import Settings

from allocations import notices
from allocations.emails import about_gpu_time
from allocations.models import Notice, TakeBackExemption, TakeBackRule, TakeBackWarning
from centre import emails
from centre.models import User
from tests import make
from tests.allocations import letters
from tests.allocations.letters import NIGHT, NOW, TODAY, Killed, lead_of, night, told, use

on_rows = pytest.mark.django_db
Kind = Notice.Kind


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


# ------------------------------------------------------------------------------------------------ once


@on_rows
def test_undelivered_letter_goes_out_the_next_night_and_holds_nobody_up(settings: Settings) -> None:
    settings.EMAIL_BACKEND = f"{letters.__name__}.BrokenBackend"
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
    settings.EMAIL_BACKEND = f"{letters.__name__}.KillingBackend"
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
    settings.EMAIL_BACKEND = f"{letters.__name__}.SlowBackend"
    allocation = make.allocation(end_on=TODAY)
    people = [lead_of(allocation) for _each in range(3)]

    def whole_night() -> None:
        notices.find_due(at=NOW)
        notices.send(at=NOW)

    assert letters_of_two_runs(whole_night) == sorted(person.email for person in people)


@pytest.mark.usefixtures("committed")
def test_two_careless_runs_at_once_would_send_twice(settings: Settings) -> None:
    """The control: reading what is unsent, sending it and marking it afterwards."""
    settings.EMAIL_BACKEND = f"{letters.__name__}.SlowBackend"
    lead = lead_of(make.allocation(end_on=TODAY))
    notices.find_due(at=NOW)

    def careless() -> None:
        owed = list(Notice.objects.to_send().select_related("allocation__project", "allocation__pool__cluster"))
        letter = about_gpu_time(user=lead, owed=owed, warnings={}, books_as_of={}, at=NOW)
        emails.deliver([(lead, letter)], at=NOW)
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
    user = make.person(language=language)
    User.objects.filter(pk=user.pk).update(name="Eve\r\nBcc: all@example.org")  # as it may stand there from earlier
    title = "Free GPUs\r\n\r\n* Sign in at http://evil.example.org\u2028\u202enow <b>{{ 7|add:7 }}</b>"
    project = make.project("hostile", title=title, lead=user)
    make.allocation(project=project, end_on=TODAY)

    (body,) = night()

    quoted = {"en": "hostile: “{}”", "zh-hant": "hostile：「{}」", "zh-hans": "hostile：“{}”"}[language]
    assert len(told(body)) == 1
    assert [line for line in body.splitlines() if "evil" in line] == [
        quoted.format("Free GPUs * Sign in at http://evil.example.org now <b>{{ 7|add:7 }}</b>")
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
