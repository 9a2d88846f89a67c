"""Statements: what each tells, that together they tell everything once, and that what is issued stays as it is."""

import json
import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.db import DatabaseError, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from allocations import issuing, movements, refunds
from allocations.issuing import (
    BooksIncomplete,
    EarlierMonthFirst,
    MonthNotOver,
    NothingToTell,
    StatementRefused,
    issue,
    issue_due,
)
from allocations.ledger import top_up
from allocations.models import Allocation, JobRun, LedgerEntry, Statement
from allocations.statements import Extent, adds_up, digest_of, last_day, left, lines_of, provisional
from allocations.verifying import differences
from centre.models import Event, Project
from tests import make

pytestmark = pytest.mark.django_db

HOUR = make.HOUR
APRIL, MAY, JUNE, JULY = (date(2026, month, 1) for month in (4, 5, 6, 7))


def hongkong(month: int, day: int, hour: int = 12, minute: int = 0) -> datetime:
    """An instant of 2026 on the clusters' clock."""
    return datetime(2026, month, day, hour, minute, tzinfo=UTC) - timedelta(hours=8)


@pytest.fixture
def allocation() -> Allocation:
    """1,000 GPU-hours from 10 April to the end of the year, given on 9 April."""
    with time_machine.travel(hongkong(4, 9), tick=False):
        make.centre()
        project = make.project("gene-fold", title="Gene folding")
        pool = make.pool("h800", price=1_000)
        return make.allocation(
            project=project, pool=pool, reference="AWARD-1", start_on=date(2026, 4, 10), end_on=date(2026, 12, 31)
        )


def use(allocation: Allocation, start_at: datetime, *, hours: int = 1, user: str = "u1", at: datetime) -> None:
    """A run that an import at an instant brings; its export covers everything since the beginning."""
    with time_machine.travel(at, tick=False):
        run = make.run(allocation=allocation, start_at=start_at, hours=hours, user=user)
        make.imported(run, cluster=allocation.pool.cluster, as_of=at, covers_from=hongkong(4, 1))


def complete(allocation: Allocation, at: datetime) -> None:
    """An import that brings nothing, so that the books are complete until then."""
    with time_machine.travel(at, tick=False):
        make.imported(cluster=allocation.pool.cluster, as_of=at, covers_from=hongkong(4, 1))


def issued(project: Project, month: date, at: datetime) -> Statement:
    return issue(project=project, month=month, by=None, at=at)


def only(statement: Statement) -> dict[str, Any]:
    """The one allocation on a statement."""
    (found,) = json.loads(statement.content)["allocations"]
    assert isinstance(found, dict)
    return found


# ------------------------------------------------------------------------------------------------- what it tells


def test_statement_tells_of_the_month_and_the_next_begins_where_it_ended(allocation: Allocation) -> None:
    make.member(project=allocation.project, name="Ada Running", cluster_user="u1")
    use(allocation, hongkong(4, 20, 23), hours=2, at=hongkong(4, 25))
    use(allocation, hongkong(4, 30, 22), hours=4, user="u2", at=hongkong(5, 2))
    april = issued(allocation.project, APRIL, hongkong(5, 4))
    told = only(april)
    assert told["opening"] == {"granted": 0, "used": 0, "held": 0}
    assert [(line["kind"], line["day"], line["seconds"]) for line in told["given"]] == [
        ("grant", "2026-04-10", 1_000 * HOUR)
    ]
    assert told["usage"] == [
        {"day": "2026-04-20", "user": "u1", "member": "Ada Running", "seconds": -HOUR},
        {"day": "2026-04-21", "user": "u1", "member": "Ada Running", "seconds": -HOUR},
        {"day": "2026-04-30", "user": "u2", "member": "", "seconds": -2 * HOUR},
    ]
    assert told["closing"] == {"granted": 1_000 * HOUR, "used": 4 * HOUR, "held": 0}
    complete(allocation, hongkong(6, 1, 1))
    may = issued(allocation.project, MAY, hongkong(6, 4))
    assert (april.sequence, may.sequence, may.number) == (1, 2, "2026-05/00002")
    assert only(may)["opening"] == told["closing"]
    assert only(may)["usage"] == [{"day": "2026-05-01", "user": "u2", "member": "", "seconds": -2 * HOUR}]
    assert list(differences()) == []


def test_every_kind_of_movement_has_its_place(allocation: Allocation) -> None:
    other = make.allocation(
        project=allocation.project,
        pool=allocation.pool,
        account="other",
        start_on=date(2026, 4, 10),
        end_on=date(2026, 12, 31),
        at=hongkong(4, 9),
    )
    asked, approved = make.person(), make.person()
    people: dict[str, Any] = {"by": asked, "approved_by": approved, "reason": "-"}
    use(allocation, hongkong(5, 3), hours=5, at=hongkong(5, 4))
    top_up(allocation=allocation, seconds=7, at=hongkong(5, 5), key="t", source_kind="test", **people)
    movements.transfer(source=allocation, target=other, seconds=11, at=hongkong(5, 6), key="m", **people)
    movements.take_back(allocation=allocation, seconds=13, at=hongkong(5, 7), key="b", **people)
    hold: dict[str, Any] = {"allocation": allocation, "by": asked, "reason": "-"}
    first = movements.hold(**hold, seconds=17, at=hongkong(5, 8), key="h1")
    movements.hold(**hold, seconds=19, at=hongkong(5, 8), key="h2", lapses_on=date(2026, 6, 8))
    movements.release(held=first, by=asked, at=hongkong(5, 9), reason="-")
    run = JobRun.objects.get()
    refunds.refund(allocation=allocation, runs={run.pk: 5 * HOUR}, at=hongkong(5, 10), key="r", **people)
    complete(allocation, hongkong(6, 2))
    issued(allocation.project, APRIL, hongkong(6, 4))
    may = json.loads(issued(allocation.project, MAY, hongkong(6, 4)).content)
    told = next(line for line in may["allocations"] if line["reference"] == "AWARD-1")
    assert [(line["kind"], line["seconds"]) for line in told["given"]] == [
        ("top_up", 7),
        ("transfer", -11),
        ("forfeit", -13),
    ]
    assert [(line["kind"], line["seconds"]) for line in told["refunds"]] == [("refund", 5 * HOUR)]
    assert [(line["kind"], line["seconds"]) for line in told["holds"]] == [
        ("hold", -17),
        ("hold", -19),
        ("release", 17),
    ]
    assert [(hold["seconds"], hold["lapses_on"]) for hold in told["standing"]] == [(19, "2026-06-08")]
    assert left(told["closing"]) == 1_000 * HOUR + 7 - 11 - 13 - 19
    assert adds_up(may)
    june = provisional(allocation.project, JUNE, previous=Statement.objects.get(month=MAY), at=hongkong(6, 5))
    (told,) = (line for line in june["allocations"] if line["reference"] == "AWARD-1")
    assert [hold["seconds"] for hold in told["standing"]] == [19]
    assert [*lines_of(told)] == []
    assert list(differences()) == []


def test_what_is_learnt_later_is_an_adjustment_by_day_in_the_next_statement(allocation: Allocation) -> None:
    use(allocation, hongkong(4, 20), at=hongkong(5, 1, 1))
    issued(allocation.project, APRIL, hongkong(5, 4))
    use(allocation, hongkong(4, 12), hours=3, user="late", at=hongkong(5, 10))
    use(allocation, hongkong(5, 12), hours=2, at=hongkong(6, 1, 1))
    told = only(issued(allocation.project, MAY, hongkong(6, 4)))
    assert told["earlier_usage"] == [{"day": "2026-04-12", "user": "late", "member": "", "seconds": -3 * HOUR}]
    assert [line["day"] for line in told["usage"]] == ["2026-05-12"]
    assert list(differences()) == []


def test_late_grant_for_an_earlier_day_is_told_once_though_its_allocation_is_new(allocation: Allocation) -> None:
    complete(allocation, hongkong(5, 2))
    issued(allocation.project, APRIL, hongkong(5, 4))
    make.allocation(
        project=allocation.project,
        pool=allocation.pool,
        account="second",
        reference="SECOND",
        seconds=77,
        start_on=date(2026, 4, 15),
        end_on=date(2026, 12, 31),
        at=hongkong(5, 20),
    )
    complete(allocation, hongkong(6, 2))
    may = json.loads(issued(allocation.project, MAY, hongkong(6, 4)).content)
    second = may["allocations"][-1]
    assert [(line["kind"], line["day"], line["seconds"]) for line in second["earlier"]] == [("grant", "2026-04-15", 77)]
    assert [second["opening"]["granted"], second["closing"]["granted"]] == [0, 77]


# ----------------------------------------------------------------------------------------------------- refusals


def test_month_that_still_goes_on_on_the_cluster_is_refused(allocation: Allocation) -> None:
    complete(allocation, hongkong(5, 1, 0, 1))
    with pytest.raises(MonthNotOver, match="April 2026 is not over"):
        issued(allocation.project, APRIL, hongkong(4, 30, 23, 59))
    assert issued(allocation.project, APRIL, hongkong(5, 1, 0, 1)).sequence == 1


@pytest.mark.parametrize("reaches", [None, hongkong(4, 30, 23, 59)])
def test_month_whose_usage_is_not_all_known_is_refused(allocation: Allocation, reaches: datetime | None) -> None:
    if reaches:
        complete(allocation, reaches)
    with pytest.raises(BooksIncomplete, match="not known up to the end of April 2026"):
        issued(allocation.project, APRIL, hongkong(5, 4))
    complete(allocation, hongkong(5, 1, 0))
    assert issued(allocation.project, APRIL, hongkong(5, 4)).sequence == 1


def test_gap_in_the_month_is_refused_and_one_before_it_is_not(allocation: Allocation) -> None:
    cluster = allocation.pool.cluster
    for begins, ends in ((hongkong(4, 1), hongkong(4, 20)), (hongkong(4, 22), hongkong(5, 2))):
        with time_machine.travel(ends, tick=False):
            make.imported(cluster=cluster, as_of=ends, covers_from=begins)
    with pytest.raises(BooksIncomplete):
        issued(allocation.project, APRIL, hongkong(5, 4))
    with time_machine.travel(hongkong(6, 2), tick=False):
        make.imported(cluster=cluster, as_of=hongkong(6, 2), covers_from=hongkong(4, 20))
    issued(allocation.project, APRIL, hongkong(6, 4))
    assert issued(allocation.project, MAY, hongkong(6, 4)).sequence == 2


def test_months_are_issued_in_order(allocation: Allocation) -> None:
    complete(allocation, hongkong(7, 2))
    with pytest.raises(EarlierMonthFirst, match="statement of April 2026 has to be issued before that of May 2026"):
        issued(allocation.project, MAY, hongkong(7, 4))
    with pytest.raises(NothingToTell, match="gene-fold had no GPU-hours in March 2026"):
        issued(allocation.project, date(2026, 3, 1), hongkong(7, 4))
    for month in (APRIL, MAY):
        issued(allocation.project, month, hongkong(7, 4))
    with pytest.raises(EarlierMonthFirst, match="statement of May 2026 is issued already"):
        issued(allocation.project, date(2026, 3, 1), hongkong(7, 4))


def test_project_without_hours_has_nothing_to_tell() -> None:
    with pytest.raises(NothingToTell):
        issued(make.project(), APRIL, hongkong(7, 4))


def test_month_between_periods_is_passed_over_until_something_is_learnt_of_it(allocation: Allocation) -> None:
    project, pool = allocation.project, allocation.pool
    Allocation.objects.filter(pk=allocation.pk).update(end_on=date(2026, 4, 30))
    make.allocation(project=project, pool=pool, start_on=date(2026, 6, 1), end_on=date(2026, 6, 30), at=hongkong(5, 20))
    complete(allocation, hongkong(7, 2))
    issued(project, APRIL, hongkong(5, 4))
    with transaction.atomic():
        with pytest.raises(NothingToTell):
            issued(project, MAY, hongkong(7, 4))
        assert issued(project, JUNE, hongkong(7, 4)).sequence == 2
        transaction.set_rollback(True)
    use(allocation, hongkong(4, 12), hours=3, at=hongkong(7, 3))
    with pytest.raises(EarlierMonthFirst):
        issued(project, JUNE, hongkong(7, 4))
    assert [line["day"] for line in only(issued(project, MAY, hongkong(7, 4)))["earlier_usage"]] == ["2026-04-12"]


# ------------------------------------------------------------------------------------------- issued once, for ever


def test_second_time_gives_the_first_result(allocation: Allocation) -> None:
    complete(allocation, hongkong(5, 2))
    officer = make.person()
    first = issue(project=allocation.project, month=date(2026, 4, 17), by=officer, at=hongkong(5, 4))
    use(allocation, hongkong(4, 12), at=hongkong(5, 5))
    assert issued(allocation.project, APRIL, hongkong(5, 6)) == first
    assert (Statement.objects.count(), Event.objects.filter(act="issue_statement", actor=officer).count()) == (1, 1)


def test_issued_statement_can_be_neither_changed_nor_removed(allocation: Allocation) -> None:
    complete(allocation, hongkong(5, 2))
    statement = issued(allocation.project, APRIL, hongkong(5, 4))
    assert statement.digest == digest_of(statement.content)
    for act in (lambda: Statement.objects.update(content="{}"), statement.delete):
        with pytest.raises(DatabaseError), transaction.atomic():
            act()
    assert Statement.objects.get() == statement


def test_command_issues_what_is_due_and_names_what_waits(allocation: Allocation) -> None:
    with time_machine.travel(hongkong(4, 9), tick=False):
        elsewhere = make.allocation(project=make.project("no-usage"), start_on=APRIL, end_on=date(2026, 12, 31))
    complete(allocation, hongkong(6, 2))

    def said(at: datetime, *arguments: str) -> list[str]:
        out = StringIO()
        with time_machine.travel(at, tick=False):
            call_command("issue_statements", *arguments, stdout=out)
        return out.getvalue().splitlines()

    waits = (
        f"no-usage, 2026-04: waits. The usage of {elsewhere.pool.cluster.code} is not known up to the end of "
        "April 2026. Import what is missing; the page about imports names the gaps."
    )
    assert said(hongkong(6, 3)) == [waits, "Statements issued: 1; projects that wait: 1."]
    assert said(hongkong(6, 3), "--after-days=0") == [waits, "Statements issued: 1; projects that wait: 1."]
    assert said(hongkong(6, 4)) == [waits, "Statements issued: 0; projects that wait: 1."]
    assert list(Statement.objects.order_by("sequence").values_list("sequence", "month")) == [(1, APRIL), (2, MAY)]


# --------------------------------------------------------------------------------------- everything is told once


@settings(max_examples=max(settings.default.max_examples // 5, 1) if settings.default else 10)
@given(seed=st.integers(0, 2**32))
def test_statements_tell_of_every_entry_once_and_add_up_to_the_ledger(seed: int) -> None:
    """Random movements, recorded in any order of their days, and statements issued at random moments."""
    with transaction.atomic():
        told_once(random.Random(seed))
        transaction.set_rollback(True)


def told_once(choices: random.Random) -> None:
    with time_machine.travel(hongkong(4, 9), tick=False):
        make.centre(two_person_above_seconds=0)
        project, pool = make.project(), make.pool()
        rows = [
            make.allocation(
                project=project, pool=pool, account=f"a{n}", start_on=date(2026, 4, 10), end_on=date(2026, 12, 31)
            )
            for n in range(2)
        ]
    now = hongkong(4, 10)
    nth = 0
    due = APRIL
    while due < JULY:
        row = choices.choice(rows)
        nth += 1
        now += timedelta(hours=choices.randrange(1, 24 * 12))
        match choices.randrange(4):
            case 0:
                day = now - timedelta(days=choices.randrange(40))
                use(row, max(day, hongkong(4, 10)), hours=choices.randrange(1, 40), at=now + timedelta(days=2))
                now += timedelta(days=2)
            case 1:
                movements.hold(allocation=row, seconds=nth, by=None, at=now, key=f"h{nth}", reason="-")
            case 2:
                held = LedgerEntry.objects.filter(allocation=row).unresolved_holds().first()
                if held:
                    movements.release(held=held, by=None, at=now, reason="-")
            case _:
                complete(row, now)
                try:
                    issued(project, due, now)
                except StatementRefused:
                    continue
                due = date(2026, due.month + 1, 1)
    everything = [json.loads(text)["allocations"] for text in project.statements.values_list("content", flat=True)]
    seen = Counter(
        line["entry"] for told in everything for allocation in told for line in lines_of(allocation) if "entry" in line
    )
    last = project.statements.latest("month")
    entries = LedgerEntry.objects.filter(pk__lte=last.last_entry, effective_on__lt=JULY)
    decided = entries.exclude(source_kind="usage").values_list("pk", flat=True)
    assert seen == Counter(list(decided))
    for row in rows:
        own = [
            line for told in everything for one in told if one["reference"] == row.reference for line in lines_of(one)
        ]
        by_day = Counter[str]()
        for line in own:
            by_day[line["day"]] += line["seconds"]
        wanted = Counter[str]()
        for on, seconds in entries.filter(allocation=row).values_list("effective_on", "seconds"):
            wanted[on.isoformat()] += seconds
        assert {day: sum_ for day, sum_ in by_day.items() if sum_} == {d: s for d, s in wanted.items() if s}
    assert [found for found in differences() if "tatement" in found] == []


def test_statements_that_go_by_days_alone_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: what is recorded late would never be told of."""
    monkeypatch.setattr(issuing, "extent_of", lambda previous: Extent(last_day(previous.month)))
    caught = 0
    for seed in range(5):
        try:
            with transaction.atomic():
                told_once(random.Random(seed))
                transaction.set_rollback(True)
        except AssertionError:
            caught += 1
    assert caught


def test_issuing_for_all_goes_on_where_one_fails(allocation: Allocation) -> None:
    complete(allocation, hongkong(5, 2))
    found = list(issue_due(at=hongkong(5, 4)))
    assert [(each.project.code, each.month, each.outcome.value) for each in found] == [("gene-fold", APRIL, "issued")]
    assert list(issue_due(at=hongkong(5, 4))) == []
