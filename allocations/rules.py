"""Rules about unused GPU time are asked for by one officer and answered by another; an approved one never changes.

What a rule did carries the names of the two people who made it, so a rule is an act as grave as the acts that it does.
"""

from datetime import date, datetime
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from allocations.models import Allocation, PeriodEndRule, TakeBackRule
from allocations.models.rules import PoolRule, RuleQuerySet
from allocations.posting import TAKES_DECISIONS
from allocations.refusals import MAY_PROPOSE
from centre import audit
from centre.first_person import why_gone
from centre.models import GpuPool, Project, User

Rule = TypeVar("Rule", bound=PoolRule)
BEHIND_IT = frozenset(
    {"id", "reason", "asked_by", "asked_at", "approved_by", "approved_at", "refused_by", "refused_at", "answer"}
)
"""Columns that say who made the rule; the others are its terms."""


class RuleError(Exception):
    """Why a rule could not be asked for or answered, as a sentence for a screen."""


class OwnRule(RuleError):
    """Nobody approves the rule that they asked for."""


class AskerGone(RuleError):
    """Who asked for the rule does not count as the first of two people any more."""


class BenefitsFromRule(RuleError):
    """Nobody approves a rule about allocations of their own project."""


class AlreadyDecided(RuleError):
    """The rule was approved or refused in the meantime."""


class TooLate(RuleError):
    """The rule would count for days that another rule has governed."""


class NoAnswer(RuleError):
    """A refusal says why."""


@transaction.atomic
def ask_rule(*, rule: Rule, by: User, at: datetime) -> Rule:
    """Ask that an unsaved `rule` counts for its pool from its first day on; it waits for a second officer.

    Raises ValidationError, naming the field, for terms that cannot be right or a first day that is over. Only a pool's
    first period-end rule may begin earlier, so that what ended before there was a rule can be closed as well.
    """
    rule.asked_by, rule.asked_at = by, at
    rule.approved_by = rule.approved_at = rule.refused_by = rule.refused_at = None
    rule.reason = rule.reason.strip()
    rule.clean_fields()
    refuse_terms(rule)
    rule.full_clean()
    if begins_too_early(rule, at):
        raise ValidationError({"from_on": _("Choose today or a later day; a rule does not change what is over.")})
    rule.save(force_insert=True)
    audit.record(
        act="ask_rule",
        on=rule,
        by=by,
        at=at,
        reason=rule.reason,
        changes={name: [None, value] for name, value in terms(rule).items()},
    )
    return rule


def refuse_without_asker(rule: Rule, at: datetime) -> None:
    """AskerGone where who asked may not ask for such a rule any more."""
    gone = why_gone(rule.asked_by, at=at, permission=MAY_PROPOSE)
    if gone:
        raise AskerGone(gone + " " + _("Refuse it and ask for a new one."))


@transaction.atomic
def approve_rule(*, rule: Rule, by: User, at: datetime) -> Rule:
    """Approve it as the second person; it counts from its first day.

    Raises OwnRule, BenefitsFromRule, AskerGone, AlreadyDecided, TooLate.
    """
    if rule.asked_by_id == by.pk:
        raise OwnRule(_("You asked for this rule yourself. Another officer has to approve it."))
    refuse_beneficiary_of(rule, by)
    GpuPool.objects.select_for_update().get(pk=rule.pool_id)  # of two rules approved at once one sees the other
    still_waits = same_kind(rule).waiting().filter(pk=rule.pk)
    if begins_too_early(rule, at) and still_waits.exists():
        raise TooLate(
            _("The first day of this rule is over, and another rule counted since. Refuse it and ask for a new one.")
        )
    if still_waits.exists():
        refuse_without_asker(rule, at)
    if not still_waits.order_by().update(approved_by=by, approved_at=at):
        raise decided()
    rule.approved_by, rule.approved_at = by, at
    audit.record(
        act="approve_rule",
        on=rule,
        by=by,
        at=at,
        reason=rule.reason,
        changes={"asked_by": rule.asked_by, "approved_by": [None, by], **terms(rule)},
    )
    return rule


@transaction.atomic
def refuse_rule(*, rule: Rule, by: User, at: datetime, answer: str) -> Rule:
    """Say no, and why; the person who asked withdraws a rule in the same way. Raises AlreadyDecided, NoAnswer."""
    answer = answer.strip()
    if not answer:
        raise NoAnswer(_("Say why; the person who asked, and later the auditor, read it."))
    refused = {"refused_by": by, "refused_at": at, "answer": answer}
    if not same_kind(rule).waiting().filter(pk=rule.pk).order_by().update(**refused):
        raise decided()
    rule.refused_by, rule.refused_at, rule.answer = by, at, answer
    act = "withdraw_rule" if rule.asked_by_id == by.pk else "refuse_rule"
    audit.record(act=act, on=rule, by=by, at=at, reason=answer, changes={"refused_by": [None, by]})
    return rule


def refuse_beneficiary_of(rule: PoolRule, by: User) -> None:
    """Nobody approves a rule about allocations of a project that they belong to."""
    concerned = Allocation.objects.filter(pool=rule.pool_id, project__in=Project.objects.belonging_to(by))
    if concerned.filter(state__in=TAKES_DECISIONS).exists():
        raise BenefitsFromRule(
            _("You belong to a project that this rule is about. An officer who does not has to approve it.")
        )


def decided() -> AlreadyDecided:
    return AlreadyDecided(_("This rule was approved or refused in the meantime. Look at it again."))


def rule_in_force(rule: Rule, *, on: date) -> Rule | None:
    """The approved rule that counts by that day for the same pool (and funding) as this one."""
    found: Rule | None = same_kind(rule).in_force(on=on).exclude(pk=rule.pk).first()
    return found


def same_kind(rule: PoolRule) -> RuleQuerySet:
    """All rules that this one stands beside: of its pool, and for a take-back of its funding."""
    rows: RuleQuerySet = type(rule)._default_manager.filter(pool=rule.pool_id)
    if isinstance(rule, TakeBackRule):
        return rows.filter(funding=rule.funding)
    return rows


def begins_too_early(rule: PoolRule, at: datetime) -> bool:
    """Whether its first day is over and it is not a pool's first period-end rule."""
    today = at.astimezone(rule.pool.cluster.zone).date()
    if rule.from_on >= today:
        return False
    return isinstance(rule, TakeBackRule) or same_kind(rule).in_force(on=today).exclude(pk=rule.pk).exists()


def refuse_terms(rule: PoolRule) -> None:
    """ValidationError, naming the field, for shares that make no sense; the database refuses them as well."""
    wrong: dict[str, str] = {}
    if isinstance(rule, PeriodEndRule):
        has_share = rule.carry_over == PeriodEndRule.CarryOver.AT_MOST
        if has_share and not 0 < rule.most_bp <= 10_000:
            wrong["most_bp"] = _("Say which share, more than 0 % and at most 100 %.")
        elif rule.most_bp and not has_share:
            wrong["most_bp"] = _("Leave it at 0: this rule has no such share.")
    if isinstance(rule, TakeBackRule):
        if not 0 < rule.check_at_bp < 10_000:
            wrong["check_at_bp"] = _("The check lies between the beginning and the end of the period.")
        if not 0 < rule.under_bp <= 10_000:
            wrong["under_bp"] = _("Say which share, more than 0 % and at most 100 %.")
        if rule.warn_days < 1:
            wrong["warn_days"] = _("People are warned at least one day before.")
    if wrong:
        raise ValidationError(wrong)


def terms(rule: PoolRule) -> dict[str, Any]:
    """What the rule says, by column."""
    return {
        field.name: getattr(rule, field.name) for field in rule._meta.concrete_fields if field.name not in BEHIND_IT
    }
