"""Statements issued while others write: no entry is lost or told twice, numbers have no gaps and no doubles."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from functools import partial
from threading import Event

import pytest
from django.db import connection, transaction
from django.utils import timezone

from allocations import movements
from allocations.issuing import issue
from allocations.models import Allocation, LedgerEntry, Statement
from allocations.statements import first_day, last_day, lines_of
from allocations.verifying import differences
from centre.models import Project
from tests import make
from tests.postgres.acting import together

pytestmark = pytest.mark.usefixtures("committed")

HOUR = make.HOUR
PATIENCE = 20


def month_before(month: date) -> date:
    return first_day(month - timedelta(days=1))


def first_month() -> date:
    """Two months ago."""
    return month_before(month_before(first_day(make.today())))


def books(code: str = "") -> Allocation:
    """Hours since the first day of that month, with an import of today that covers all of it."""
    allocation = make.allocation(project=make.project(code), start_on=first_month(), funding="purchased")
    make.imported(cluster=allocation.pool.cluster, covers_from=covers_from())
    return allocation


def covers_from() -> datetime:
    return timezone.now() - timedelta(days=100)


def issue_first(project: Project) -> Statement:
    return issue(project=project, month=first_month(), by=None, at=timezone.now())


def issue_both(project: Project) -> None:
    issue_first(project)
    issue(project=project, month=first_day(last_day(first_month()) + timedelta(days=1)), by=None, at=timezone.now())


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=timezone.get_default_timezone())


def use(allocation: Allocation, nth: int = 0) -> None:
    """A run of the first month, learnt only now."""
    run = make.run(allocation=allocation, start_at=noon(first_month() + timedelta(days=5 + nth)))
    make.imported(run, cluster=allocation.pool.cluster, covers_from=covers_from())


def hold_early(allocation: Allocation) -> None:
    """An entry by a verb, for a day of the first month."""
    day = noon(first_month() + timedelta(days=3))
    movements.hold(allocation=allocation, seconds=5, by=None, at=day, key="early", reason="-")


def open_another(allocation: Allocation) -> None:
    """An allocation that the issue cannot know of, with a grant for a day of the first month."""
    make.allocation(project=allocation.project, pool=allocation.pool, account="another", start_on=first_month())


def told_in(statement: Statement) -> set[tuple[str, int]]:
    content = json.loads(statement.content)
    return {(line["day"], line["seconds"]) for one in content["allocations"] for line in lines_of(one)}


@pytest.mark.parametrize("act", [use, hold_early, open_another])
def test_issue_waits_for_what_is_being_recorded(act: Callable[[Allocation], None]) -> None:
    """The entry draws its number, and the issue begins, before it is committed; a later entry has a greater one."""
    allocation = books()
    recorded, go_on = Event(), Event()

    def record() -> None:
        with transaction.atomic():
            act(allocation)
            recorded.set()
            go_on.wait(PATIENCE)
        connection.close()

    def issue_it() -> Statement:
        try:
            return issue_first(allocation.project)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        recording = pool.submit(record)
        assert recorded.wait(PATIENCE)
        # The control: who goes by the instant of recording, without locks, has now passed the entry by for ever.
        by_instant = {entry.pk for entry in LedgerEntry.objects.filter(recorded_at__lte=timezone.now())}
        instant = timezone.now()
        issuing = pool.submit(issue_it)
        with pytest.raises(TimeoutError):
            issuing.result(timeout=0.5)
        go_on.set()
        recording.result(PATIENCE)
        statement = issuing.result(PATIENCE)
    entry = LedgerEntry.objects.latest("pk")
    assert (entry.effective_on.isoformat(), entry.seconds) in told_in(statement)
    assert entry.pk <= statement.last_entry
    later = {late.pk for late in LedgerEntry.objects.filter(recorded_at__gt=instant)}
    assert entry.pk not in by_instant | later
    assert list(differences()) == []


@pytest.mark.parametrize("attempt", range(3))
def test_imports_verbs_and_issues_at_once_tell_of_everything_once(attempt: int) -> None:
    allocation = books()
    project = allocation.project
    acts = [partial(use, allocation, nth) for nth in range(4)]
    acts += [partial(hold_early, allocation), partial(open_another, allocation)]
    acts[attempt:attempt] = [partial(issue_both, project), partial(issue_both, project)]
    assert together(acts) == ["done"] * 8
    months = list(Statement.objects.order_by("month"))
    assert [statement.sequence for statement in months] == [1, 2]
    last = months[-1]
    unknown = LedgerEntry.objects.filter(pk__gt=last.last_entry, effective_on__lte=last_day(last.month))
    told = [line for each in Statement.objects.all() for line in told_lines(each)]
    wanted = LedgerEntry.objects.filter(effective_on__lte=last_day(last.month)).exclude(pk__in=unknown)
    assert sum(told) == sum(wanted.values_list("seconds", flat=True))
    assert list(differences()) == []


def told_lines(statement: Statement) -> list[int]:
    content = json.loads(statement.content)
    return [line["seconds"] for one in content["allocations"] for line in lines_of(one)]


def test_numbers_have_no_gaps_and_no_doubles() -> None:
    projects = [books().project for _ in range(6)]
    acts = [partial(issue_first, project) for project in projects for _twice in range(2)]
    assert together(acts) == ["done"] * 12
    assert sorted(Statement.objects.values_list("sequence", flat=True)) == [1, 2, 3, 4, 5, 6]
    assert {statement.project_id for statement in Statement.objects.all()} == {project.pk for project in projects}
