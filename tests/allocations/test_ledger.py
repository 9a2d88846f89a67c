"""The ledger: what is given is given once, by two people, and stays written."""

from datetime import date, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.db.models import ProtectedError
from django.utils import timezone

from allocations.ledger import AccountTaken, KeyReused, TwoPeopleNeeded, open_allocation, top_up
from allocations.models import Allocation, LedgerEntry
from allocations.posting import NotEnough, post
from allocations.verifying import differences
from centre.models import Centre, Event, GpuPool, Project, User
from centre.permissions import StaffRole
from tests import make

pytestmark = pytest.mark.django_db

HOUR = 3600
AT = timezone.now()


@pytest.fixture
def asking() -> User:
    return make.staff(StaffRole.ALLOCATION_OFFICER)


@pytest.fixture
def approving() -> User:
    return make.staff(StaffRole.ALLOCATION_OFFICER)


def opened(
    project: Project,
    pool: GpuPool,
    *,
    by: User | None,
    approved_by: User | None,
    reference: str = "A-1",
    first: date = date(2026, 1, 1),
    last: date = date(2026, 12, 31),
    seconds: int = 10 * HOUR,
    source_kind: str = "purchase",
    account: str = "",
) -> Allocation:
    return open_allocation(
        project=project,
        pool=pool,
        reference=reference,
        account=account,
        funding=Allocation.Funding.PURCHASED,
        start_on=first,
        end_on=last,
        seconds=seconds,
        by=by,
        approved_by=approved_by,
        at=AT,
        reason="paid",
        source_kind=source_kind,
    )


def more(allocation: Allocation, seconds: int, key: str, by: User | None, approved_by: User | None) -> LedgerEntry:
    return top_up(
        allocation=allocation,
        seconds=seconds,
        by=by,
        approved_by=approved_by,
        at=AT,
        key=key,
        reason="more",
        source_kind="test",
    )


def test_opening_grants_hours_and_is_on_the_trail(asking: User, approving: User) -> None:
    project = make.project("harbour")
    allocation = opened(project, make.pool(), by=asking, approved_by=approving)
    entry = LedgerEntry.objects.get()
    assert (entry.kind, entry.total, entry.seconds, entry.effective_on) == (
        "grant",
        "granted",
        36_000,
        date(2026, 1, 1),
    )
    assert (entry.asked_by, entry.approved_by, entry.reason) == (asking, approving, "paid")
    assert (allocation.account, allocation.available_seconds) == ("harbour", 36_000)
    assert Event.objects.get(act="open_allocation").object_id == str(allocation.pk)
    assert list(differences()) == []


def test_grant_needs_two_people(asking: User) -> None:
    project, pool = make.project(), make.pool()
    for second in (None, asking):
        with pytest.raises(TwoPeopleNeeded):
            opened(project, pool, by=asking, approved_by=second)
    with pytest.raises(TwoPeopleNeeded):
        opened(project, pool, by=None, approved_by=None)
    assert (Allocation.objects.count(), LedgerEntry.objects.count()) == (0, 0)
    assert not Event.objects.filter(act="open_allocation").exists()


def test_opening_balance_of_onboarding_is_the_one_exemption() -> None:
    project, pool = make.project(), make.pool()
    allocation = opened(project, pool, by=None, approved_by=None, source_kind="onboard")
    assert allocation.granted_seconds == 36_000
    with pytest.raises(TwoPeopleNeeded):
        top_up(
            allocation=allocation,
            seconds=1,
            by=None,
            approved_by=None,
            at=AT,
            key="k",
            reason="",
            source_kind="onboard",
        )


def test_small_grants_may_pass_below_the_centres_threshold(asking: User) -> None:
    make.centre(two_person_above_seconds=HOUR)
    allocation = opened(make.project(), make.pool(), by=asking, approved_by=None, seconds=HOUR)
    assert allocation.granted_seconds == HOUR
    with pytest.raises(TwoPeopleNeeded):
        more(allocation, HOUR + 1, "k", asking, None)
    assert Centre.objects.get().two_person_above_seconds == HOUR


def test_top_up_sent_twice_acts_once(asking: User, approving: User) -> None:
    allocation = opened(make.project(), make.pool(), by=asking, approved_by=approving)
    first = more(allocation, HOUR, "request-1", asking, approving)
    second = more(allocation, HOUR, "request-1", asking, approving)
    assert (first.pk, allocation.granted_seconds) == (second.pk, 11 * HOUR)
    assert Event.objects.filter(act="top_up").count() == 1
    with pytest.raises(KeyReused):
        more(allocation, 2 * HOUR, "request-1", asking, approving)
    allocation.refresh_from_db()
    assert allocation.granted_seconds == 11 * HOUR
    assert list(differences()) == []


def test_decision_never_takes_more_than_is_left_but_usage_is_a_fact(asking: User, approving: User) -> None:
    allocation = opened(make.project(), make.pool(), by=asking, approved_by=approving)

    def take(kind: LedgerEntry.Kind, seconds: int, key: str) -> None:
        post(
            allocation=allocation,
            kind=kind,
            seconds=-seconds,
            effective_on=date(2026, 2, 1),
            key=key,
            at=AT,
            source_kind="test",
            asked_by=asking,
            approved_by=approving,
        )

    take(LedgerEntry.Kind.HOLD, 4 * HOUR, "hold")
    with pytest.raises(NotEnough, match=r"6\.00"):
        take(LedgerEntry.Kind.FORFEIT, 6 * HOUR + 1, "forfeit-too-much")
    take(LedgerEntry.Kind.FORFEIT, 6 * HOUR, "forfeit")
    assert allocation.available_seconds == 0
    take(LedgerEntry.Kind.CHARGE, 5 * HOUR, "charge")
    assert (allocation.available_seconds, allocation.is_overdrawn) == (-5 * HOUR, True)


def test_one_allocation_covers_an_account_pool_and_day(asking: User, approving: User) -> None:
    project, pool = make.project("harbour"), make.pool()
    opened(project, pool, by=asking, approved_by=approving)
    with pytest.raises(AccountTaken, match="A-1"):
        opened(project, pool, by=asking, approved_by=approving, reference="A-2", first=date(2026, 12, 31))
    later = opened(
        project, pool, by=asking, approved_by=approving, reference="A-3", first=date(2027, 1, 1), last=date(2027, 1, 1)
    )
    beside = opened(project, pool, by=asking, approved_by=approving, reference="A-4", account="harbour-paid")
    elsewhere = opened(project, make.pool(), by=asking, approved_by=approving, reference="A-5")
    assert Allocation.objects.filter(pk__in=[later.pk, beside.pk, elsewhere.pk]).count() == 3
    for closed in (Allocation.State.CLOSED, Allocation.State.SUSPENDED):
        Allocation.objects.filter(reference="A-1").update(state=closed)
        with pytest.raises(IntegrityError, match="one_allocation_covers"), transaction.atomic():
            Allocation.objects.filter(reference="A-3").update(start_on=date(2026, 12, 1))
    Allocation.objects.filter(reference="A-1").update(state=Allocation.State.VOID)
    Allocation.objects.filter(reference="A-3").update(start_on=date(2026, 12, 1))


def test_allocation_that_ends_before_it_starts_is_refused(asking: User, approving: User) -> None:
    with pytest.raises(ValidationError, match="before the first"):
        opened(make.project(), make.pool(), by=asking, approved_by=approving, last=date(2025, 12, 31))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE allocations_ledgerentry SET seconds = seconds + 1",
        "UPDATE allocations_ledgerentry SET reason = 'other'",
        "DELETE FROM allocations_ledgerentry",
        "DELETE FROM centre_event",
        "UPDATE centre_event SET act = 'nothing'",
        "UPDATE centre_listprice SET cents_per_gpu_hour = 1",
    ],
)
def test_history_refuses_change_and_removal_in_sql(statement: str, asking: User, approving: User) -> None:
    opened(make.project(), make.pool(), by=asking, approved_by=approving)
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_two_people_are_demanded_in_sql_too(asking: User, approving: User) -> None:
    allocation = opened(make.project(), make.pool(), by=asking, approved_by=approving)
    for asked, approved in ((None, None), (asking, None), (None, approving), (asking, asking)):
        entry = LedgerEntry(
            allocation=allocation,
            kind="top_up",
            total="granted",
            seconds=1,
            effective_on=AT.date(),
            recorded_at=AT,
            asked_by=asked,
            approved_by=approved,
            key="by-hand",
            source_kind="request",
        )
        with pytest.raises(IntegrityError, match="two_people"), transaction.atomic():
            entry.save()


@pytest.mark.parametrize(
    ("kind", "total", "seconds"),
    [
        ("grant", "granted", -1),
        ("charge", "used", 1),
        ("refund", "used", -1),
        ("hold", "held", 1),
        ("grant", "used", 1),
    ],
)
def test_entry_whose_sign_or_total_does_not_fit_is_refused(
    kind: str, total: str, seconds: int, asking: User, approving: User
) -> None:
    allocation = opened(make.project(), make.pool(), by=asking, approved_by=approving)
    entry = LedgerEntry(
        allocation=allocation,
        kind=kind,
        total=total,
        seconds=seconds,
        effective_on=AT.date(),
        recorded_at=AT,
        asked_by=asking,
        approved_by=approving,
        key="by-hand",
        source_kind="test",
    )
    with pytest.raises(IntegrityError, match="entry_sign_and_total_fit_its_kind"), transaction.atomic():
        entry.save()


def test_nothing_under_history_can_be_deleted(asking: User, approving: User) -> None:
    allocation = opened(make.project(), make.pool(), by=asking, approved_by=approving)
    for row in (allocation, allocation.project, allocation.project.tenant, allocation.pool, asking):
        with pytest.raises(ProtectedError):
            row.delete()


def test_days_left_counts_the_last_day() -> None:
    allocation = Allocation(start_on=date(2026, 1, 1), end_on=date(2026, 1, 31))
    days = [allocation.days_left(on=date(2026, 1, 1) + timedelta(days=n)) for n in (-5, 0, 29, 30, 31)]
    assert days == [31, 31, 2, 1, 0]


@pytest.mark.parametrize(
    ("first", "last", "field", "day"),
    [
        (date(1, 1, 1), date(2026, 1, 1), "start_on", "0001-01-01"),
        (date(2026, 1, 1), date(9999, 12, 31), "end_on", "9999-12-31"),
    ],
)
def test_day_whose_year_cannot_be_meant_is_refused(
    asking: User, approving: User, first: date, last: date, field: str, day: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        opened(make.project(), make.pool(), by=asking, approved_by=approving, first=first, last=last)
    said = f"{day} is outside the days from 2000-01-01 to 2199-12-31. Check the year."
    assert refused.value.message_dict == {field: [said]}
    assert Allocation.objects.count() == 0
