"""A control for each check of issued statements: a copy is broken in that way, and the sentence compared."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection, transaction

from allocations.issuing import issue
from allocations.models import Allocation, LedgerEntry, Statement
from allocations.statements import canonical, digest_of
from allocations.verifying.statements import wrong_statements
from tests import make
from tests.allocations.copies import changed, copy_in_front

pytestmark = pytest.mark.django_db

HOUR = make.HOUR


def hongkong(month: int, day: int) -> datetime:
    return datetime(2026, month, day, 4, tzinfo=UTC)


@pytest.fixture
def statements() -> tuple[Statement, Statement]:
    """April and May of a project, May with late usage of April; in front of copies of their tables."""
    with time_machine.travel(hongkong(4, 9), tick=False):
        make.centre()
        allocation = make.allocation(
            project=make.project("gene-fold"),
            pool=make.pool("h800", price=1_000),
            reference="AWARD-1",
            funding=Allocation.Funding.PURCHASED,
            start_on=date(2026, 4, 10),
            end_on=date(2026, 12, 31),
        )
    cluster, issued = allocation.pool.cluster, []
    for month, days in ((4, (20,)), (5, (-10, 20))):
        for day in days:
            start_at = hongkong(month, 1) + timedelta(days=day)
            with time_machine.travel(hongkong(month + 1, 2), tick=False):
                run = make.run(allocation=allocation, start_at=start_at)
                make.imported(run, cluster=cluster, as_of=hongkong(month + 1, 2), covers_from=hongkong(4, 1))
        issued.append(issue(project=allocation.project, month=date(2026, month, 1), by=None, at=hongkong(month + 1, 4)))
    copy_in_front(LedgerEntry, Statement)
    assert list(wrong_statements()) == []
    return issued[0], issued[1]


def told_after(statement: Statement, change: Callable[[dict[str, Any]], object], *, sealed: bool = True) -> list[str]:
    """What the checker says once the content is another one, with the digest of that (or the old one)."""
    content = json.loads(statement.content)
    change(content)
    text = canonical(content)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE allocations_statement SET content = %s, digest = %s WHERE id = %s",
                [text, digest_of(text) if sealed else statement.digest, statement.pk],
            )
        found = list(wrong_statements())
        transaction.set_rollback(True)
    return [sentence.partition("gene-fold: ")[2] for sentence in found]


def first(content: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = content["allocations"][0]
    return found


@pytest.mark.parametrize(
    ("change", "sentences"),
    [
        (
            lambda content: content.update(month="2026-06-01"),
            ["its content names another month, number, last entry or instant."],
        ),
        (
            lambda content: content.update(as_of="2026-06-01T00:00:00+00:00"),
            ["its content names another month, number, last entry or instant."],
        ),
        (lambda content: content.update(previous=None), ["it does not follow the statement before it."]),
        (
            lambda content: first(content)["opening"].update(used=0),
            ["the opening balance of AWARD-1 is not the closing balance before."],
        ),
        (
            lambda content: first(content)["closing"].update(held=5),
            ["the closing balance of AWARD-1 is not what its entries say."],
        ),
        (
            lambda content: first(content)["usage"][0].update(seconds=-1),
            ["use on 2026-05-21 on AWARD-1 is told as -1 GPU-seconds, the ledger says -3600."],
        ),
        (
            lambda content: first(content)["earlier_usage"].clear(),
            ["use on 2026-04-21 on AWARD-1 is told as 0 GPU-seconds, the ledger says -3600."],
        ),
        (
            lambda content: (
                first(content)["usage"].extend(first(content).pop("earlier_usage"))
                or first(content).update(earlier_usage=[])
            ),
            ["a line of 2026-04-21 stands among those of other days."],
        ),
        (
            lambda content: content["money"][0]["this"].update(own_share_cents=0),
            ["own_share_cents of allocation:AWARD-1 is not what the sum so far rose by."],
        ),
        (
            lambda content: content["money"][0]["so_far"].update(list_value_cents=2),
            [
                "list_value_cents of allocation:AWARD-1 is not what the sum so far rose by.",
                "list_value_cents of allocation:AWARD-1 is 2 so far, the ledger and the list prices say 3000.",
            ],
        ),
        (
            lambda content: content["money"].clear(),
            [
                "allocation:AWARD-1 is missing, whose money the statement before told of.",
                "the usage of AWARD-1 stands in no line of money.",
            ],
        ),
    ],
)
def test_each_wrong_figure_is_named(
    statements: tuple[Statement, Statement], change: Callable[[dict[str, Any]], object], sentences: list[str]
) -> None:
    assert told_after(statements[1], change) == sentences


def test_content_that_was_touched_is_named(statements: tuple[Statement, Statement]) -> None:
    touched = told_after(statements[1], lambda content: content["project"].update(title="Another"), sealed=False)
    assert touched == ["its digest is not that of its content."]


def test_statement_that_is_missing_is_named(statements: tuple[Statement, Statement]) -> None:
    with changed("DELETE FROM allocations_statement WHERE id = %s", statements[0].pk):
        found = list(wrong_statements())
    assert found[0] == "Statements: there are 1, and the last one has the running number 2."
    assert "Statement 2026-05/00002 of gene-fold: it does not follow the statement before it." in found


def test_entry_that_no_statement_told_of_is_named(statements: tuple[Statement, Statement]) -> None:
    charge = LedgerEntry.objects.filter(kind="charge").latest("pk")
    with changed("UPDATE allocations_ledgerentry SET seconds = seconds - 1 WHERE id = %s", charge.pk):
        found = list(wrong_statements())
    day = charge.effective_on
    assert found[:2] == [
        "Statement 2026-05/00002 of gene-fold: the closing balance of AWARD-1 is not what its entries say.",
        f"Statement 2026-05/00002 of gene-fold: use on {day} on AWARD-1 is told as -3600 GPU-seconds, "
        "the ledger says -3601.",
    ]
