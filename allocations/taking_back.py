"""Unused GPU time is taken back by rule: a check in mid-period, a warning, and some days later the act.

`take_back_unused` runs every night, catches up what was missed, and does nothing twice: a rule warns an allocation once
(the database holds that), and a warning is settled once, by saying what was seen. Each allocation is a transaction of
its own, in which it is locked and judged anew. What is taken carries the names of the two people who made the rule.
"""

from datetime import date, datetime

from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import override

from allocations import movements, notices
from allocations.models import Allocation, LedgerEntry, Notice, TakeBackWarning
from allocations.posting import LedgerError
from allocations.take_back_cases import Finding, What, cases, judge, to_judge
from centre import audit
from centre.amounts import decimal_text, hours_text
from centre.instants import going_on_from

SETTLES = {
    What.TAKEN: TakeBackWarning.Outcome.TAKEN,
    What.CAUGHT_UP: TakeBackWarning.Outcome.CAUGHT_UP,
    What.EXEMPTED: TakeBackWarning.Outcome.EXEMPTED,
    What.OVER: TakeBackWarning.Outcome.OVER,
}


class AlreadySettled(LedgerError):
    """Something else came of the warning in the meantime."""


def take_back_unused(*, at: datetime, dry_run: bool = False) -> list[Finding]:
    """Warn whom a rule finds under-used, and settle the warnings that are due; returns what was found.

    A dry run finds the same and writes nothing. Findings that wait for usage are told and not acted upon.
    """
    findings = [finding for case in cases(to_judge(at=at), at=at) if (finding := judge(case)) is not None]
    if dry_run:
        return findings
    clock = going_on_from(at)
    acted = (
        finding if finding.what == What.WAITING else act_on(finding.allocation, at=clock()) for finding in findings
    )
    return [finding for finding in acted if finding is not None]


@transaction.atomic
def act_on(allocation: Allocation, *, at: datetime) -> Finding | None:
    """Judge one allocation anew while it is locked, and do what follows; None: another run did it, or it is over."""
    movements.locked([allocation])
    (case,) = cases(Allocation.objects.filter(pk=allocation.pk), at=at)
    finding = judge(case)
    if finding is None or finding.what == What.WAITING:
        return finding
    if finding.what == What.WARNED and finding.due_on is not None:
        warn(finding, due_on=finding.due_on, at=at)
    elif finding.warning is not None:
        settle(finding, finding.warning, at=at)
    return finding


def warn(finding: Finding, *, due_on: date, at: datetime) -> TakeBackWarning:
    """Write the warning and owe its letters."""
    warning = TakeBackWarning.objects.create(
        allocation=finding.allocation,
        rule=finding.rule,
        checked_on=finding.until,
        used_seconds=finding.used,
        planned_seconds=finding.planned,
        warned_at=at,
        due_on=due_on,
    )
    notices.owe(allocation=finding.allocation, kind=Notice.Kind.TAKE_BACK_WARNED, at=at, threshold=warning.pk)
    audit.record(
        act="warn_take_back",
        on=finding.allocation,
        by=None,
        at=at,
        reason=reason_of(finding),
        changes={
            "warning": [None, warning.pk],
            "rule": [None, finding.rule.pk],
            "used_seconds": finding.used,
            "planned_seconds": finding.planned,
            "due_on": [None, due_on],
        },
    )
    return warning


def settle(finding: Finding, warning: TakeBackWarning, *, at: datetime) -> None:
    """Close a warning with what came of it; what is taken is posted first, in the same transaction."""
    outcome = SETTLES[finding.what]
    entry = take(finding, warning, at=at) if finding.what == What.TAKEN else None
    waiting = TakeBackWarning.objects.filter(pk=warning.pk, outcome=TakeBackWarning.Outcome.WARNED)
    if not waiting.update(outcome=outcome, settled_at=at, entry=entry):
        raise AlreadySettled(_("This warning was settled in the meantime. Look at it again."))
    if entry is not None:
        notices.owe(allocation=finding.allocation, kind=Notice.Kind.TAKEN_BACK, at=at, threshold=warning.pk)
        return
    audit.record(
        act="settle_take_back",
        on=finding.allocation,
        by=None,
        at=at,
        reason=reason_of(finding),
        changes={"warning": warning.pk, "outcome": [warning.outcome, outcome]},
    )


def take(finding: Finding, warning: TakeBackWarning, *, at: datetime) -> LedgerEntry:
    """Take back what is beyond the planned remainder, in the name of the two people who made the rule."""
    return movements.take_back(
        allocation=finding.allocation,
        seconds=finding.takes,
        by=finding.rule.asked_by,
        approved_by=finding.rule.approved_by,
        at=at,
        key=f"take-back-{warning.pk}",
        reason=reason_of(finding),
        source_kind="take_back_rule",
        source_reference=str(warning.pk),
    )


def reason_of(finding: Finding) -> str:
    """Why, with the figures, in the one language of the books."""
    rule = finding.rule
    with override("en"):
        share = decimal_text(rule.under_bp, 100, 2).rstrip("0").rstrip(".")
        used = (
            f"Take-back rule {rule.pk}: {hours_text(finding.used)} of {hours_text(finding.planned)} planned GPU-hours "
            f"used by {finding.until}"
        )
        match finding.what:
            case What.WARNED:
                return f"{used}, less than {share} %."
            case What.TAKEN:
                return f"{used}, less than {share} %; what is beyond the planned remainder is taken back."
            case What.CAUGHT_UP:
                return f"{used}, no longer less than {share} %."
            case What.EXEMPTED:
                return f"{used}; the allocation is exempted."
        return f"{used}; there is nothing to take."
