"""The end of a period: what is left is carried over or forfeited by the rule, and late usage changes it afterwards."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from io import StringIO
from itertools import count
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from allocations import movements, requests
from allocations.closing import Outcome, close_periods, preview_closing
from allocations.models import Allocation, ChangeRequest, LedgerEntry, PeriodEnd, PeriodEndRule
from allocations.verifying import differences
from centre.models import Event, GpuPool, Project
from centre.permissions import StaffRole
from tests import make

pytestmark = pytest.mark.django_db

HOUR = make.HOUR
Carry = PeriodEndRule.CarryOver


def days_ago(days: int) -> date:
    return make.today() - timedelta(days=days)


def noon(day: date, pool: GpuPool) -> datetime:
    return datetime.combine(day, time(12), tzinfo=pool.cluster.zone)


def ended(pool: GpuPool, *, hours: int = 100, project: Project | None = None, **told: Any) -> Allocation:
    """An allocation whose last day was ten days ago."""
    told = {"start_on": days_ago(60), "end_on": days_ago(10), **told}
    return make.allocation(pool=pool, hours=hours, project=project, account="lab", **told)


def followed_by(allocation: Allocation, *, hours: int = 50, **told: Any) -> Allocation:
    """The allocation that goes on where this one ended."""
    told = {"start_on": allocation.end_on + timedelta(days=1), "end_on": days_ago(-90), **told}
    return make.allocation(
        pool=allocation.pool, hours=hours, project=allocation.project, account=allocation.account, **told
    )


def used(allocation: Allocation, hours: int, *, on: date | None = None) -> None:
    """A run of so many hours on one GPU, imported now; by default in the middle of the period."""
    start_at = noon(on or allocation.start_on + timedelta(days=2), allocation.pool)
    make.imported(make.run(allocation=allocation, hours=hours, start_at=start_at), cluster=allocation.pool.cluster)


def balance(allocation: Allocation) -> tuple[int, int]:
    """(granted, left) in GPU-hours."""
    allocation.refresh_from_db()
    assert (allocation.granted_seconds % HOUR, allocation.available_seconds % HOUR) == (0, 0)
    return allocation.granted_seconds // HOUR, allocation.available_seconds // HOUR


def moved(allocation: Allocation) -> list[tuple[str, str, int]]:
    """What the closings wrote: (kind, source, GPU-hours), the oldest first."""
    entries = allocation.entries.filter(source_kind__in=("period_end", "late_usage")).order_by("pk")
    return [(entry.kind, entry.source_kind, entry.seconds // HOUR) for entry in entries]


def reasons(allocation: Allocation) -> list[str]:
    entries = allocation.entries.filter(source_kind__in=("period_end", "late_usage")).order_by("pk")
    return [entry.reason.replace("\N{NO-BREAK SPACE}", " ") for entry in entries]


def close(*, at: datetime | None = None) -> list[tuple[str, str]]:
    return [(row.allocation.reference, row.outcome.value) for row in close_periods(at=at or timezone.now())]


def test_rule_none_forfeits_what_is_left() -> None:
    pool = make.pool("h800")
    rule = make.period_end_rule(pool=pool)
    allocation = ended(pool, reference="OLD")
    following = followed_by(allocation)
    used(allocation, 30)

    assert close() == [("OLD", "closed")]

    assert (balance(allocation), balance(following)) == ((30, 0), (50, 50))
    assert moved(allocation) == [("forfeit", "period_end", -70)]
    assert reasons(allocation) == [
        "Forfeited to the reserve of h800 at the end of the period (nothing is carried over)"
    ]
    entry = allocation.entries.get(kind="forfeit")
    assert (entry.asked_by, entry.approved_by) == (rule.asked_by, rule.approved_by)
    end = PeriodEnd.objects.get()
    assert (end.allocation, end.rule, end.following, end.most_seconds) == (allocation, rule, None, 0)
    assert allocation.state == Allocation.State.CLOSED
    assert list(differences()) == []


def test_rule_all_carries_everything_over() -> None:
    pool = make.pool()
    make.period_end_rule(pool=pool, carry_over=Carry.ALL)
    allocation = ended(pool, reference="OLD")
    following = followed_by(allocation, reference="NEW")
    used(allocation, 30)

    close()

    assert (balance(allocation), balance(following)) == ((30, 0), (120, 120))
    assert (moved(allocation), moved(following)) == (
        [("transfer", "period_end", -70)],
        [("transfer", "period_end", 70)],
    )
    assert (reasons(allocation), reasons(following)) == (
        ["Carried over to NEW (all that was left)"],
        ["Carried over from OLD (all that was left)"],
    )
    assert list(differences()) == []


def test_rule_at_most_carries_a_share_of_the_grant_and_forfeits_the_rest() -> None:
    pool = make.pool("h800")
    make.period_end_rule(pool=pool, carry_over=Carry.AT_MOST, most_bp=1_000)
    allocation = ended(pool)
    following = followed_by(allocation, reference="NEW")
    used(allocation, 30)

    close()

    assert (balance(allocation), balance(following)) == ((30, 0), (60, 60))
    assert moved(allocation) == [("transfer", "period_end", -10), ("forfeit", "period_end", -60)]
    assert reasons(allocation) == [
        "Carried over to NEW (at most 10 % of what was granted)",
        "Forfeited to the reserve of h800 at the end of the period "
        "(beyond the 10 % of what was granted that are carried over)",
    ]
    assert list(differences()) == []


def test_overdrawn_allocation_is_closed_without_entries() -> None:
    pool = make.pool()
    make.period_end_rule(pool=pool, carry_over=Carry.ALL)
    allocation = ended(pool, hours=10)
    followed_by(allocation)
    used(allocation, 12)
    assert close() == [(allocation.reference, "closed")]
    assert (balance(allocation), moved(allocation)) == ((10, -2), [])


def test_allocation_of_a_pool_without_rule_waits() -> None:
    pool = make.pool()
    allocation = ended(pool)
    asked = PeriodEndRule(pool=pool, from_on=days_ago(300), carry_over=Carry.NONE, reason="not approved yet")
    asked.asked_by, asked.asked_at = make.person(), timezone.now()
    asked.save()
    make.period_end_rule(pool=pool, from_on=days_ago(9), at=timezone.now() - timedelta(days=9))  # the day after
    assert close() == [(allocation.reference, "no_rule")]
    assert (balance(allocation), allocation.state) == ((100, 100), Allocation.State.OPEN)


def test_allocation_is_closed_on_the_day_after_its_last_in_the_zone_of_its_cluster() -> None:
    pool = make.pool(cluster=make.cluster(time_zone="Asia/Hong_Kong"))
    make.period_end_rule(pool=pool)
    allocation = ended(pool)
    last = allocation.end_on
    midnight = datetime.combine(last + timedelta(days=1), time(), tzinfo=pool.cluster.zone)
    assert close(at=midnight - timedelta(seconds=1)) == []
    assert close(at=midnight) == [(allocation.reference, "closed")]


def test_allocation_waits_for_a_following_one_and_is_forfeited_after_that() -> None:
    pool = make.pool("h800")
    make.period_end_rule(pool=pool, carry_over=Carry.ALL, wait_days=10)
    allocation = ended(pool)
    found = close_periods(at=timezone.now())
    assert [(row.outcome, row.waits_until) for row in found] == [(Outcome.WAITS, make.today())]
    assert allocation.entries.count() == 1
    assert close(at=timezone.now() + timedelta(days=1)) == [(allocation.reference, "closed")]
    assert reasons(allocation) == [
        "Forfeited to the reserve of h800 at the end of the period (no allocation followed within 10 days)"
    ]


def test_following_allocation_is_the_next_open_one_of_project_pool_and_funding() -> None:
    pool = make.pool()
    make.period_end_rule(pool=pool, carry_over=Carry.ALL, wait_days=15)
    allocation = ended(pool, hours=1, project=make.project("lab"))
    of: dict[str, Any] = {"pool": pool, "hours": 1, "start_on": days_ago(9), "end_on": days_ago(-9)}
    make.allocation(**of, account="other-project")
    make.allocation(**of, project=allocation.project, account="paid", funding=Allocation.Funding.PURCHASED)
    make.allocation(**{**of, "pool": make.pool(cluster=pool.cluster)}, project=allocation.project, account="other-pool")
    late = {**of, "start_on": days_ago(-6)}
    make.allocation(**late, project=allocation.project, account="too-late")
    assert close() == [(allocation.reference, "waits")]
    make.allocation(**{**of, "start_on": days_ago(-3)}, project=allocation.project, account="second", reference="2ND")
    make.allocation(**{**of, "start_on": days_ago(-4)}, project=allocation.project, account="third")
    assert close() == [(allocation.reference, "closed")]
    assert PeriodEnd.objects.get().following == Allocation.objects.get(reference="2ND")


def test_closing_twice_acts_once_and_missed_days_are_caught_up() -> None:
    pool = make.pool()
    make.period_end_rule(pool=pool)
    first = ended(pool, end_on=days_ago(40))
    second = ended(pool, start_on=days_ago(39), end_on=days_ago(20))
    assert close() == [(first.reference, "closed"), (second.reference, "closed")]
    entries, events = LedgerEntry.objects.count(), Event.objects.count()
    assert close() == []
    assert (LedgerEntry.objects.count(), Event.objects.count()) == (entries, events)
    assert Event.objects.filter(act="close_period").count() == 2


def test_interrupted_closing_keeps_what_is_done_and_goes_on_the_next_time() -> None:
    pool = make.pool()
    make.period_end_rule(pool=pool)
    first = ended(pool, end_on=days_ago(40))
    second = ended(pool, start_on=days_ago(39), end_on=days_ago(20))
    seen = count(1)

    def interrupt(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        if "close_period" in str(parameters) and next(seen) == 2:
            raise KeyboardInterrupt
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(interrupt), pytest.raises(KeyboardInterrupt):
        close()
    assert (balance(first), first.state, balance(second), second.state) == ((0, 0), "closed", (100, 100), "open")
    assert close() == [(second.reference, "closed")]
    assert list(differences()) == []


def test_request_that_waits_lapses_and_its_hold_is_let_go_first() -> None:
    pool = make.pool()
    make.period_end_rule(pool=pool)
    allocation = ended(pool)
    other = make.allocation(pool=pool)
    officer = make.staff(StaffRole.ALLOCATION_OFFICER)
    at = timezone.now()
    more = requests.ask(allocation=allocation, seconds=HOUR, reason="more", by=officer, at=at)
    away = requests.propose(
        kind=ChangeRequest.Kind.TRANSFER,
        allocation=allocation,
        to_allocation=other,
        seconds=40 * HOUR,
        reason="moved",
        by=officer,
        at=at,
        key="away",
    )
    assert balance(allocation) == (100, 60)
    close()
    assert [ChangeRequest.objects.get(pk=one.pk).state for one in (more, away)] == ["lapsed", "lapsed"]
    assert (balance(allocation), moved(allocation)) == ((0, 0), [("forfeit", "period_end", -100)])
    assert list(differences()) == []


def test_late_usage_takes_back_the_forfeit_and_then_the_carry_over() -> None:
    pool = make.pool()
    make.period_end_rule(pool=pool, carry_over=Carry.AT_MOST, most_bp=2_000)
    allocation = ended(pool)
    following = followed_by(allocation)
    used(allocation, 30)
    close()
    assert (balance(allocation), balance(following)) == ((30, 0), (70, 70))
    used(allocation, 45)  # of the 50 forfeited
    assert (balance(allocation), balance(following)) == ((75, 0), (70, 70))
    used(allocation, 15)  # the last 5 of the forfeit, then 10 of the 20 carried over
    assert (balance(allocation), balance(following)) == ((90, 0), (60, 60))
    used(allocation, 25)  # more than all: overdrawn by 15
    assert (balance(allocation), balance(following)) == ((100, -15), (50, 50))
    assert moved(allocation) == [
        ("transfer", "period_end", -20),
        ("forfeit", "period_end", -50),
        ("correction", "late_usage", 45),
        ("correction", "late_usage", 5),
        ("correction", "late_usage", 10),
        ("correction", "late_usage", 10),
    ]
    assert moved(following) == [
        ("transfer", "period_end", 20),
        ("correction", "late_usage", -10),
        ("correction", "late_usage", -10),
    ]
    assert list(differences()) == []


def test_usage_corrected_downwards_gives_back_the_carry_over_first() -> None:
    pool = make.pool()
    make.period_end_rule(pool=pool, carry_over=Carry.AT_MOST, most_bp=2_000)
    allocation = ended(pool)
    following = followed_by(allocation)
    start_at = noon(allocation.start_on, pool)
    long = make.run(allocation=allocation, hours=110, start_at=start_at, number=7)
    short = make.run(allocation=allocation, hours=50, start_at=start_at, number=7)
    now = timezone.now().replace(microsecond=0)
    make.imported(long, cluster=pool.cluster, as_of=now - timedelta(hours=2))
    close()
    assert (balance(allocation), balance(following)) == ((100, -10), (50, 50))
    make.imported(short, cluster=pool.cluster, as_of=now - timedelta(hours=1))
    assert (balance(allocation), balance(following)) == ((50, 0), (70, 70))
    assert [(kind, hours) for kind, _source, hours in moved(allocation)] == [("correction", -20), ("correction", -30)]
    assert list(differences()) == []


def test_hours_that_were_given_away_since_are_not_taken_back_from_the_following_allocation() -> None:
    pool = make.pool()
    make.period_end_rule(pool=pool, carry_over=Carry.ALL)
    allocation = ended(pool)
    following = followed_by(allocation, hours=0)
    close()
    other = make.allocation(pool=pool, hours=0)
    movements.transfer(
        source=following,
        target=other,
        seconds=80 * HOUR,
        by=make.person(),
        approved_by=make.person(),
        at=timezone.now(),
        key="away",
        reason="moved",
    )
    used(allocation, 30)
    assert (balance(allocation), balance(following), balance(other)) == ((20, -10), (0, 0), (80, 80))
    assert list(differences()) == []


def test_hours_let_go_after_the_closing_are_settled_by_the_next_run() -> None:
    pool = make.pool()
    make.period_end_rule(pool=pool)
    allocation = ended(pool)
    held = movements.hold(
        allocation=allocation, seconds=10 * HOUR, by=make.person(), at=timezone.now(), key="held", reason="an offer"
    )
    close()
    assert balance(allocation) == (10, 0)
    movements.release(held=held, by=make.person(), at=timezone.now(), reason="over")
    assert balance(allocation) == (10, 10)
    assert close() == [(allocation.reference, "settled")]
    assert (balance(allocation), close()) == ((0, 0), [])
    assert list(differences()) == []


@dataclass(frozen=True)
class Told:
    """One export's word on a run: of which allocation of the chain, which run of it, how long; later ones count."""

    link: int
    run: int
    hours: int


TELLINGS = st.lists(
    st.builds(Told, link=st.integers(0, 2), run=st.integers(0, 2), hours=st.integers(1, 48)), max_size=6
)
SHARES = st.sampled_from([(Carry.NONE, 0), (Carry.ALL, 0), (Carry.AT_MOST, 1_000), (Carry.AT_MOST, 5_000)])
GRANTS = st.tuples(*[st.integers(1, 60)] * 3)
numbers = count(1)


def plain_arithmetic(grants: Iterable[int], uses: Iterable[int], rule: tuple[str, int]) -> list[int]:
    """What each allocation of a chain has been granted in the end, in GPU-seconds; all but the last are closed."""
    carry_over, most_bp = rule
    given = [hours * HOUR for hours in grants]
    carried, result = 0, []
    for number, (own, use) in enumerate(zip(given, uses, strict=True)):
        had = own + carried
        if number == len(given) - 1:
            result.append(had)
            break
        left = had - use if had > use else 0
        share = {"none": 0, "all": left, "at_most": own * most_bp // 10_000}[carry_over]
        carried = min(left, share)
        result.append(had - left)
    return result


@settings(max_examples=settings().max_examples // 4)  # each is a dozen imports and closings
@given(
    tellings=TELLINGS,
    grants=GRANTS,
    rule=SHARES,
    closings=st.tuples(st.integers(0, 6), st.integers(0, 6)),
    order=st.randoms(use_true_random=False),
)
def test_books_depend_on_the_final_usage_alone(
    tellings: list[Told], grants: tuple[int, int, int], rule: tuple[str, int], closings: tuple[int, int], order: Any
) -> None:
    """Three allocations that follow each other, two of them closed at any point between imports in any order."""
    with transaction.atomic():
        n, now = next(numbers), timezone.now().replace(microsecond=0)
        pool = make.pool()
        project = make.project()
        make.period_end_rule(pool=pool, carry_over=rule[0], most_bp=rule[1])
        periods = [(100, 61), (60, 21), (20, -50)]
        chain = [
            make.allocation(
                pool=pool,
                project=project,
                hours=hours,
                start_on=days_ago(first),
                end_on=days_ago(last),
                account="lab",
                at=now - timedelta(days=120),
            )
            for hours, (first, last) in zip(grants, periods, strict=True)
        ]
        steps: list[tuple[datetime, Told]] = [
            (now - timedelta(minutes=60 - place), told) for place, told in enumerate(tellings)
        ]
        uses = [0, 0, 0]
        for (link, _run), hours in {(told.link, told.run): told.hours for told in tellings}.items():
            uses[link] += hours * HOUR
        order.shuffle(steps)
        first, second = sorted(min(place, len(steps)) for place in closings)
        for place in range(len(steps) + 1):
            if place == first:
                close(at=now - timedelta(days=50))
            if place == second:
                close(at=now - timedelta(days=5))
            if place < len(steps):
                as_of, told = steps[place]
                start_at = noon(chain[told.link].start_on + timedelta(days=5 + told.run), pool)
                run = make.run(
                    allocation=chain[told.link],
                    hours=told.hours,
                    start_at=start_at,
                    number=1_000_000 + n * 100 + told.link * 10 + told.run,
                )
                make.imported(run, cluster=pool.cluster, as_of=as_of)
        for allocation in chain:
            allocation.refresh_from_db()
        assert [allocation.state for allocation in chain] == ["closed", "closed", "open"]
        assert [allocation.used_seconds for allocation in chain] == uses
        assert [allocation.granted_seconds for allocation in chain] == plain_arithmetic(grants, uses, rule)
        assert list(differences()) == []
        reserve = LedgerEntry.objects.returned_to_reserve().get(pool.pk, 0)
        assert reserve == sum(grants) * HOUR - sum(allocation.granted_seconds for allocation in chain)
        transaction.set_rollback(True)


def test_preview_writes_nothing_and_says_what_closing_does() -> None:
    pool = make.pool()
    make.period_end_rule(pool=pool, carry_over=Carry.AT_MOST, most_bp=1_000)
    allocation = ended(pool)
    followed_by(allocation, reference="NEW")
    requests.ask(allocation=allocation, seconds=HOUR, reason="more", by=make.person(), at=timezone.now())
    before = (LedgerEntry.objects.count(), Event.objects.count(), balance(allocation))
    foreseen = [(row.outcome, row.carried, row.forfeited, row.following) for row in preview_closing(at=timezone.now())]
    assert foreseen == [(Outcome.CLOSED, 10 * HOUR, 90 * HOUR, "NEW")]
    assert (LedgerEntry.objects.count(), Event.objects.count(), balance(allocation)) == before
    done = [(row.outcome, row.carried, row.forfeited, row.following) for row in close_periods(at=timezone.now())]
    assert done == foreseen


def test_command_prints_a_line_for_each_and_a_sum() -> None:
    pool, bare = make.pool("h800"), make.pool("a100")
    make.period_end_rule(pool=pool)
    ended(pool, reference="OLD")
    ended(bare, reference="BARE")
    said = StringIO()
    call_command("close_periods", "--dry-run", stdout=said)
    call_command("close_periods", stdout=said)
    call_command("close_periods", stdout=said)
    day = days_ago(10).isoformat()
    line = f"OLD (ended {day}) closed: 0.00 GPU-hours carried over, 100.00 forfeited to the reserve of h800."
    without = "a100 has no period-end rule: 1 ended allocation waits. Ask for a rule in the admin."
    amounts = "Carried over 0.00 GPU-hours, forfeited {}."
    assert said.getvalue().splitlines() == [
        line,
        without,
        f"Dry run, nothing was written: would close 1 ended allocations; 1 wait. {amounts.format('100.00')}",
        line,
        without,
        f"Closed 1 ended allocations; 1 wait. {amounts.format('100.00')}",
        without,
        f"Closed 0 ended allocations; 1 wait. {amounts.format('0.00')}",
    ]
