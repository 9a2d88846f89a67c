"""Letters about GPU time: who is owed which, and when; what a person does not want."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
import time_machine
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext

from allocations import notices
from allocations.models import Allocation, Notice, NoticeOptOut
from centre import members
from centre.models import Event, User
from centre.permissions import ProjectRole
from tests import make
from tests.allocations.letters import NIGHT, NOW, TODAY, lead_of, night, standing, told, top_up, use

on_rows = pytest.mark.django_db
Kind = Notice.Kind


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


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
