"""Further Slurm accounts: what they draw is charged at once, taken back when they are withdrawn, and covered once."""

from datetime import date, datetime, time, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from allocations import drawing, ledger
from allocations.closing import close_periods
from allocations.drawing import let_draw, withdraw
from allocations.models import Allocation, DailyUsage, DrawingAccount, JobRun, LedgerEntry, RunCharge
from allocations.reconciling import Window, differences_to_charges, sums_of_runs
from allocations.refusals import BenefitsFromIt, NoReason
from allocations.verifying import differences
from centre.models import Cluster, Event, User
from centre.permissions import ProjectRole, StaffRole
from tests import make
from tests.allocations.copies import changed, copy_in_front

pytestmark = pytest.mark.django_db

HOUR = make.HOUR


def ten(days_ago: int) -> datetime:
    """Ten in the morning, so many days ago."""
    return datetime.combine(make.today() - timedelta(days=days_ago), time(10), tzinfo=timezone.get_default_timezone())


def ago(days: int) -> date:
    return make.today() - timedelta(days=days)


@pytest.fixture
def by() -> User:
    return make.staff(StaffRole.ALLOCATION_OFFICER)


@pytest.fixture
def allocation() -> Allocation:
    """100 GPU-hours, from 60 days ago."""
    return make.allocation(hours=100, reference="AG-1", account="lab")


def use(allocation: Allocation, account: str, *runs: tuple[int, int]) -> None:
    """Import runs of an account on the allocation's pool: (days ago, hours on one GPU), begun at ten."""
    told = [
        make.Run(
            account=account, partition=allocation.pool.code, start_at=ten(days), end_at=ten(days) + hours_of(hours)
        )
        for days, hours in runs
    ]
    make.imported(*told, cluster=allocation.pool.cluster)


def hours_of(number: int) -> timedelta:
    return timedelta(hours=number)


def draw(allocation: Allocation, account: str = "guest", *, by: User, **told: Any) -> tuple[DrawingAccount, int]:
    given: dict[str, Any] = {"from_on": ago(20), "reason": "a course uses it"} | told
    return let_draw(allocation=allocation, account=account, by=by, at=timezone.now(), **given)


def end(row: DrawingAccount, *, by: User) -> int:
    return withdraw(drawing_account=row, by=by, at=timezone.now(), reason="the course is over")


def used(*allocations: Allocation) -> list[int]:
    """Used by each, in whole GPU-hours."""
    return [Allocation.objects.get(pk=row.pk).used_seconds // HOUR for row in allocations]


def waiting(account: str) -> int:
    return sum(JobRun.objects.filter(account=account).values_list("unmatched_seconds", flat=True)) // HOUR


def test_an_account_that_may_draw_has_its_waiting_runs_charged_at_once(allocation: Allocation, by: User) -> None:
    use(allocation, "guest", (30, 3), (20, 5), (10, 7))
    assert (used(allocation), waiting("guest")) == ([0], 15)
    row, charged = draw(allocation, by=by)
    assert (charged, used(allocation), waiting("guest")) == (12 * HOUR, [12], 3)
    assert (row.pool, row.from_on, row.until_on, row.made_by) == (allocation.pool, ago(20), allocation.end_on, by)
    assert allocation.used_seconds == 12 * HOUR
    assert list(differences()) == []


def test_runs_that_are_imported_later_are_charged_too(allocation: Allocation, by: User) -> None:
    draw(allocation, by=by, until_on=ago(8))
    use(allocation, "guest", (12, 2), (8, 24), (5, 1))
    assert (used(allocation), waiting("guest")) == ([16], 11)  # two, and fourteen until midnight
    assert list(differences()) == []


def test_a_withdrawal_gives_everything_back(allocation: Allocation, by: User) -> None:
    use(allocation, "guest", (20, 5), (10, 7))
    use(allocation, "lab", (10, 4))
    row, charged = draw(allocation, by=by)
    assert used(allocation) == [16]
    assert end(row, by=by) == charged == 12 * HOUR
    assert (used(allocation), waiting("guest")) == ([4], 12)
    row.refresh_from_db()
    assert (row.withdrawn_by, row.withdrawn_at is not None) == (by, True)
    assert sum(DailyUsage.objects.values_list("seconds", flat=True)) == 4 * HOUR
    assert list(differences()) == []
    assert draw(allocation, by=by)[1] == 12 * HOUR  # what was withdrawn stands in nobody's way
    assert list(differences()) == []


def test_both_acts_are_told_in_the_trail(allocation: Allocation, by: User) -> None:
    use(allocation, "guest", (20, 5))
    row, _charged = draw(allocation, by=by)
    end(row, by=by)
    of_row = Event.objects.filter(object_type="allocations.drawingaccount", object_id=str(row.pk)).order_by("pk")
    assert [(event.act, event.actor, event.reason) for event in of_row] == [
        ("let_account_draw", by, "a course uses it"),
        ("withdraw_account", by, "the course is over"),
    ]
    told = of_row[0].changes
    assert (told["allocation"], told["charged_gpu_seconds"]) == ([None, "AG-1"], [None, 5 * HOUR])
    assert of_row[1].changes["given_back_gpu_seconds"] == [None, 5 * HOUR]


def test_the_same_again_changes_nothing(allocation: Allocation, by: User) -> None:
    use(allocation, "guest", (20, 5))
    first, _charged = draw(allocation, by=by)
    again, charged = draw(allocation, by=by)
    assert (again, charged, used(allocation)) == (first, 0, [5])
    assert Event.objects.filter(act="let_account_draw").count() == 1


def test_a_withdrawal_happens_once(allocation: Allocation, by: User) -> None:
    row, _charged = draw(allocation, by=by)
    end(row, by=by)
    with pytest.raises(drawing.AlreadyWithdrawn, match="guest was withdrawn before"):
        end(row, by=by)


def test_an_account_is_covered_once_and_the_other_allocation_is_named(allocation: Allocation, by: User) -> None:
    other = make.allocation(pool=allocation.pool, account="guest", reference="AG-2", end_on=ago(10))
    third = make.allocation(pool=allocation.pool, account="third", reference="AG-3")
    for account, from_on, sentence in (
        ("guest", ago(20), f"AG-2 already covers the Slurm account guest on {allocation.pool.code} from {ago(60)}"),
        ("lab", ago(20), "AG-1 already covers the Slurm account lab"),
    ):
        with pytest.raises(drawing.AccountTaken, match=sentence):
            draw(allocation, account, by=by, from_on=from_on)
    draw(allocation, by=by, from_on=ago(9))
    with pytest.raises(drawing.AccountTaken, match=f"guest draws on AG-1 .* from {ago(9)} to {allocation.end_on}"):
        draw(third, by=by, from_on=ago(9))
    with pytest.raises(ledger.AccountTaken, match=r"guest draws on AG-1 .* or withdraw it there first"):
        make.allocation(pool=allocation.pool, account="guest", start_on=ago(9))
    make.allocation(account="guest", start_on=ago(9))  # another pool
    assert DrawingAccount.objects.count() == 1
    assert other.drawing_accounts.count() == 0


@pytest.mark.parametrize(("first", "last"), [(70, 20), (20, -200), (10, 11)])
def test_days_lie_within_the_period(allocation: Allocation, by: User, first: int, last: int) -> None:
    with pytest.raises(drawing.OutsideThePeriod):
        draw(allocation, by=by, from_on=ago(first), until_on=ago(last))
    assert not DrawingAccount.objects.exists()


def test_a_void_allocation_takes_nothing(allocation: Allocation, by: User) -> None:
    Allocation.objects.update(state=Allocation.State.VOID)
    with pytest.raises(drawing.VoidAllocation, match="AG-1 is void"):
        draw(allocation, by=by)


def test_a_name_that_cannot_be_one_and_a_missing_reason_are_refused(allocation: Allocation, by: User) -> None:
    for account in ("", "Guest", "a b", "x" * 129):
        with pytest.raises(ValidationError):
            draw(allocation, account, by=by)
    for reason in (" ", "\0"):
        with pytest.raises(NoReason):
            draw(allocation, by=by, reason=reason)


def test_who_belongs_to_a_project_concerned_does_not_decide(allocation: Allocation, by: User) -> None:
    guest = make.project("guest")
    row, _charged = draw(allocation, by=by)
    lead = make.member(project=allocation.project, role=ProjectRole.LEAD, user=make.staff(StaffRole.ALLOCATION_OFFICER))
    viewer = make.member(project=guest, role=ProjectRole.VIEWER, user=make.staff(StaffRole.ALLOCATION_OFFICER))
    signs = make.representative(tenant=guest.tenant)
    elsewhere = make.allocation(account="guest").project  # on another pool: the account is that project's as well
    member = make.member(project=elsewhere)
    for person in (lead, viewer, signs, member):
        with pytest.raises(BenefitsFromIt):
            draw(allocation, by=person, from_on=ago(30), until_on=ago(25))
        with pytest.raises(BenefitsFromIt):
            end(row, by=person)
    assert DrawingAccount.objects.filter(withdrawn_at=None).count() == 1


def test_late_usage_of_a_further_account_is_settled_with_the_end_of_the_period(by: User) -> None:
    ended = make.allocation(hours=100, start_on=ago(60), end_on=ago(10), account="lab")
    make.period_end_rule(pool=ended.pool)
    use(ended, "lab", (30, 10))
    use(ended, "guest", (20, 6))
    close_periods(at=timezone.now())
    assert forfeited(ended) == 90
    row, charged = draw(ended, by=by)
    assert (charged, used(ended), forfeited(ended)) == (6 * HOUR, [16], 84)
    assert list(differences()) == []
    end(row, by=by)
    assert (used(ended), forfeited(ended)) == ([10], 90)
    assert list(differences()) == []


def forfeited(allocation: Allocation) -> int:
    """What went to the reserve at the end, in whole GPU-hours."""
    return LedgerEntry.objects.filter(allocation=allocation).returned_to_reserve()[allocation.pool_id] // HOUR


def test_an_account_charges_by_pool_and_day(allocation: Allocation, by: User) -> None:
    """One account: its own allocation, then another's on the same pool, and a third one's on another pool."""
    cluster = allocation.pool.cluster
    own = make.allocation(pool=allocation.pool, account="guest", start_on=ago(60), end_on=ago(21), hours=50)
    other_pool = make.pool(cluster=cluster)
    third = make.allocation(pool=other_pool, account="third", hours=50)
    draw(allocation, by=by)
    draw(third, by=by, until_on=ago(15))
    use(own, "guest", (21, 20))
    use(third, "guest", (16, 2), (15, 15), (10, 1))
    assert (used(own, allocation, third), waiting("guest")) == ([14, 6, 16], 2)
    assert list(differences()) == []
    assert reconciled(cluster) == [
        f"guest on {day}: the runs say 3600 GPU-seconds, 0 are charged; part of it ran on GPUs of a pool for which the "
        "account has no allocation that day."
        for day in (ago(14), ago(10))
    ]


def reconciled(cluster: Cluster) -> list[str]:
    window = Window(cluster, ago(60), make.today())
    return list(differences_to_charges(window, sums_of_runs(window)))


def test_the_checker_finds_a_charge_through_a_further_account_that_is_wrong(allocation: Allocation, by: User) -> None:
    """Seeded faults: in the charge, and in what says that the account may draw."""
    use(allocation, "guest", (20, 5))
    row, _charged = draw(allocation, by=by)
    other = make.allocation(pool=allocation.pool)
    charge = RunCharge.objects.get()
    copy_in_front(DrawingAccount, RunCharge)
    assert list(differences()) == []
    faults = [
        ("allocations_runcharge", "seconds = seconds + 1", charge.pk),
        ("allocations_drawingaccount", "account = 'other'", row.pk),
        ("allocations_drawingaccount", f"allocation_id = {other.pk}", row.pk),
        ("allocations_drawingaccount", f"from_on = '{ago(19)}'", row.pk),
        ("allocations_drawingaccount", f"until_on = '{ago(21)}'", row.pk),
        ("allocations_drawingaccount", f"withdrawn_by_id = {by.pk}, withdrawn_at = made_at", row.pk),
        ("allocations_drawingaccount", f"pool_id = {make.pool(cluster=allocation.pool.cluster).pk}", row.pk),
    ]
    found = []
    for table, change, number in faults:
        with changed(f"UPDATE {table} SET {change} WHERE id = %s", number):
            found.append((change, any("charged" in sentence for sentence in differences())))
    assert found == [(change, True) for _table, change, _number in faults]
    assert list(differences()) == []


def run(sql: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)


def test_plain_sql_cannot_let_two_allocations_take_an_account(allocation: Allocation, by: User) -> None:
    other = make.allocation(pool=allocation.pool, account="other")
    row, _charged = draw(allocation, by=by, until_on=ago(10))
    covers = "an_allocation_covers_no_further_account"
    for change, rule in (
        ("account = 'guest'", covers),
        (f"account = 'guest', start_on = '{ago(30)}', end_on = '{ago(20)}'", covers),
        (f"account = 'guest', start_on = '{ago(10)}'", covers),
    ):
        with pytest.raises(IntegrityError, match=rule):
            run(f"UPDATE allocations_allocation SET {change} WHERE id = {other.pk}")
    with pytest.raises(IntegrityError, match=covers):
        run(f"UPDATE allocations_allocation SET pool_id = {make.pool().pk} WHERE id = {allocation.pk}")
    run(f"UPDATE allocations_allocation SET account = 'guest', start_on = '{ago(9)}' WHERE id = {other.pk}")
    run(f"UPDATE allocations_allocation SET state = 'void', start_on = '{ago(60)}' WHERE id = {other.pk}")
    with pytest.raises(IntegrityError, match=covers):
        run(f"UPDATE allocations_allocation SET state = 'open' WHERE id = {other.pk}")
    assert DrawingAccount.objects.get() == row


COLUMNS = ("allocation_id", "pool_id", "account", "from_on", "until_on", "reason", "made_by_id", "made_at")


def sql_day(day: date) -> str:
    return f"CAST('{day}' AS date)" if connection.vendor == "postgresql" else f"'{day}'"


def inserted(row: DrawingAccount, **said: str) -> str:
    """SQL for a further row like this one, with other content."""
    values = ", ".join(said.get(column, column) for column in COLUMNS)
    return (
        f"INSERT INTO allocations_drawingaccount ({', '.join(COLUMNS)}) "
        f"SELECT {values} FROM allocations_drawingaccount WHERE id = {row.pk}"
    )


def test_plain_sql_cannot_add_a_row_that_must_not_be(allocation: Allocation, by: User) -> None:
    make.allocation(pool=allocation.pool, account="other")
    row, _charged = draw(allocation, by=by, until_on=ago(10))
    within = "a_further_account_draws_within_its_allocation"
    for said, rule in (
        ({}, "one_drawing_account_per_pool_and_day"),
        ({"from_on": sql_day(ago(10)), "until_on": sql_day(ago(5))}, "one_drawing_account"),
        ({"account": "'other'"}, "a_further_account_is_not_covered_by_name"),
        ({"account": "'lab'"}, "a_further_account_is_not_covered_by_name"),
        ({"account": "'new'", "pool_id": str(make.pool().pk)}, within),
        ({"account": "'new'", "from_on": sql_day(ago(61))}, within),
        ({"account": "'new'", "until_on": sql_day(ago(-121))}, within),
    ):
        with pytest.raises(IntegrityError, match=rule):
            run(inserted(row, **said))
    run(inserted(row, account="'new'"))
    assert sorted(DrawingAccount.objects.values_list("account", flat=True)) == ["guest", "new"]


def test_a_row_changes_only_by_its_withdrawal_and_is_never_removed(allocation: Allocation, by: User) -> None:
    row, _charged = draw(allocation, by=by)
    table = "allocations_drawingaccount"
    withdrawal = f"withdrawn_by_id = {by.pk}, withdrawn_at = made_at"
    other = make.allocation(pool=allocation.pool).pk
    changes = [
        *(f"{column} = {column}" for column in COLUMNS),
        f"{withdrawal}, reason = 'other'",
        f"{withdrawal}, account = 'other'",
        f"{withdrawal}, allocation_id = {other}",
        f"{withdrawal}, from_on = '{ago(5)}'",
        f"{withdrawal}, until_on = '{ago(5)}'",
    ]
    for change in changes:
        with pytest.raises(IntegrityError, match="only_withdrawn_once"):
            run(f"UPDATE {table} SET {change}")
    with pytest.raises(IntegrityError, match="never removed"):
        run(f"DELETE FROM {table}")
    replace = f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}"
    if connection.vendor == "postgresql":
        replace = f"INSERT INTO {table} SELECT * FROM {table} ON CONFLICT (id) DO UPDATE SET id = EXCLUDED.id"
    with pytest.raises(IntegrityError):
        run(replace)
    end(row, by=by)
    for change in ("withdrawn_by_id = NULL, withdrawn_at = NULL", "withdrawn_at = made_at"):
        with pytest.raises(IntegrityError, match="only_withdrawn_once"):
            run(f"UPDATE {table} SET {change}")
