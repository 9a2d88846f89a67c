"""The decision on an application, and the award that follows: one person records, another confirms.

Confirming is one transaction: the application walks its states, the fund reserves and commits, the project is created
or joined, the hours are granted through the ledger. If any part fails, nothing of it stands.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from allocations import ledger
from allocations.models import Allocation, LedgerEntry
from centre import tenants
from centre.audit import record
from centre.first_person import why_gone
from centre.models import GpuPool, Membership, Project, Representative, User
from centre.models.tenants import Standing
from centre.templatetags.portal import percent
from subsidies import fund, prices
from subsidies.applications import step
from subsidies.life_cycle import AlreadyDecided, CaseError, NotPossible, State, road_to_decision
from subsidies.models import (
    Application,
    Award,
    AwardGrant,
    Condition,
    Decision,
    DecisionGrant,
    FundEntry,
    Scheme,
    SubsidyProject,
)

MAY_RECORD = "subsidies.record_decision"


class SamePerson(CaseError):
    """The person who recorded a decision cannot confirm it."""


class RecorderGone(CaseError):
    """Who recorded a decision does not count as the first of two people any more."""


class HasInterest(CaseError):
    """Nobody decides on what they would benefit from."""


class AboveCeiling(CaseError):
    """The rate is above what the scheme allows."""


class NoListPrice(CaseError):
    """A pool has no list price on the first day, so that no amount can be computed."""


@dataclass(frozen=True)
class Asked:
    """A condition to be recorded: what is asked of the project, and by when."""

    text: str
    due_on: date | None = None


# ---------------------------------------------------------------------------------------------- recording


@transaction.atomic
def record_decision(
    *,
    application: Application,
    grants: Mapping[GpuPool, int],
    rate_bp: int,
    starts_on: date,
    ends_on: date,
    reason: str,
    by: User,
    at: datetime,
    conditions: Sequence[Asked] = (),
    exceptional_grounds: str = "",
    account: str = "",
) -> Decision:
    """Record an approval, to be confirmed by someone else; `grants` are GPU-seconds per pool.

    The amount is the list price on the first day x rate, rounded once. Raises AboveCeiling, NoListPrice, HasInterest,
    AlreadyDecided when a decision is recorded already, NotPossible when the application waits for none, and
    ValidationError.
    """
    if not grants or any(seconds <= 0 for seconds in grants.values()):
        raise ValidationError(_("Approve more than 0 GPU-hours on at least one pool."))
    refuse_above_ceiling(application.scheme, rate_bp=rate_bp, exceptional_grounds=exceptional_grounds)
    priced = price_grants(grants, on=starts_on)
    decision = _recorded_decision(
        Decision(
            application=application,
            outcome=Decision.Outcome.APPROVED,
            rate_bp=rate_bp,
            exceptional_grounds=exceptional_grounds.strip(),
            amount_cents=amount_cents(priced.values(), rate_bp=rate_bp),
            starts_on=starts_on,
            ends_on=ends_on,
            account=account,
            reason=reason,
            recorded_by=by,
            recorded_at=at,
        )
    )
    DecisionGrant.objects.bulk_create(
        DecisionGrant(decision=decision, pool=pool, gpu_seconds=seconds, cents_per_gpu_hour=price)
        for pool, (seconds, price) in priced.items()
    )
    Condition.objects.bulk_create(
        Condition(decision=decision, text=condition.text, due_on=condition.due_on) for condition in conditions
    )
    _told(decision, "record_decision", by, at, grants=grants, conditions=conditions)
    return decision


@transaction.atomic
def record_refusal(*, application: Application, reason: str, by: User, at: datetime) -> Decision:
    """Record that the application is not approved, to be confirmed by someone else. Raises as `record_decision`."""
    decision = _recorded_decision(
        Decision(
            application=application,
            outcome=Decision.Outcome.NOT_APPROVED,
            reason=reason,
            recorded_by=by,
            recorded_at=at,
        )
    )
    _told(decision, "record_decision", by, at)
    return decision


@transaction.atomic
def take_back_decision(*, decision: Decision, reason: str, by: User, at: datetime) -> Application:
    """Strike a decision that was not confirmed, so that it can be recorded anew; the trail keeps what it said.

    Raises AlreadyDecided when it was confirmed in the meantime.
    """
    standing = Decision.objects.waiting().select_for_update(of=("self",)).filter(pk=decision.pk).first()
    if standing is None:
        raise AlreadyDecided(_("This decision was confirmed or taken back in the meantime."))
    application = standing.application
    grants = {grant.pool: grant.gpu_seconds for grant in standing.grants.select_related("pool")}
    conditions = [Asked(text=condition.text, due_on=condition.due_on) for condition in standing.conditions.all()]
    _told(standing, "take_back_decision", by, at, grants=grants, conditions=conditions, because=reason)
    standing.grants.all().delete()
    standing.conditions.all().delete()
    standing.delete()
    return application


def refuse_above_ceiling(scheme: Scheme, *, rate_bp: int, exceptional_grounds: str) -> None:
    """AboveCeiling for a rate that the scheme does not allow, with or without grounds."""
    if rate_bp > scheme.exceptional_ceiling_bp:
        raise AboveCeiling(
            _("The scheme pays at most %(ceiling)s of the list price, whatever the case.")
            % {"ceiling": percent(scheme.exceptional_ceiling_bp)}
        )
    if rate_bp > scheme.ordinary_ceiling_bp and not exceptional_grounds.strip():
        raise AboveCeiling(
            _("Above %(ceiling)s of the list price the exceptional grounds have to be recorded.")
            % {"ceiling": percent(scheme.ordinary_ceiling_bp)}
        )


def price_grants(grants: Mapping[GpuPool, int], *, on: date) -> dict[GpuPool, tuple[int, int]]:
    """Each pool with its GPU-seconds and its list price on the day, in cents per GPU-hour. Raises NoListPrice."""
    found = prices.list_prices(list(grants), on=on)
    lacking = [pool.code for pool in grants if pool.pk not in found]
    if lacking:
        raise NoListPrice(
            _("There is no list price on %(day)s for: %(pools)s.")
            % {"day": on.isoformat(), "pools": ", ".join(lacking)}
        )
    return {pool: (seconds, found[pool.pk]) for pool, seconds in grants.items()}


def amount_cents(priced: Iterable[tuple[int, int]], *, rate_bp: int) -> int:
    """The award's amount for (GPU-seconds, cents per GPU-hour) at a rate, rounded once, half up."""
    return prices.subsidy_cents(prices.cent_seconds(priced), rate_bp=rate_bp)


def _recorded_decision(decision: Decision) -> Decision:
    """Save an unconfirmed decision on an application that waits for one."""
    # The application's row is locked, so that of two decisions at once the second finds the first.
    application = Application.objects.select_for_update(of=("self",)).get(pk=decision.application_id)
    road_to_decision(application.state)
    if Decision.objects.filter(application=application).exists():
        raise AlreadyDecided(_("A decision on this application is recorded already."))
    _refuse_interest(application, decision.recorded_by)
    decision.clean_fields(exclude=["application", "recorded_by", "confirmed_by"])
    if decision.starts_on and decision.ends_on and decision.ends_on < decision.starts_on:
        raise ValidationError({"ends_on": _("The last day is before the first.")})
    decision.save(force_insert=True)
    return decision


# ---------------------------------------------------------------------------------------------- confirming


def _refuse_without_recorder(decision: Decision, at: datetime) -> None:
    gone = why_gone(decision.recorded_by, at=at, permission=MAY_RECORD)
    if gone:
        raise RecorderGone(gone + " " + _("Let a colleague take the decision back and record it anew."))


@transaction.atomic
def confirm_decision(*, decision: Decision, by: User, at: datetime) -> Decision:
    """Confirm a decision as it was seen, and carry it out: all of it, or nothing.

    An approval walks the application to accepted, reserves and commits the money, creates or joins the project, grants
    the hours and starts the subsidy project; `decision.award` is the award. A refusal walks it to not approved.
    Raises SamePerson, RecorderGone, HasInterest, AlreadyDecided, NotPossible; FundExhausted when the envelope does not
    hold it; LedgerError when the hours cannot be granted (another allocation covers the account), TenantError when the
    project cannot be created.
    """
    if by.pk == decision.recorded_by_id:
        raise SamePerson(_("You recorded this decision. Someone else has to confirm it."))
    application = (
        Application.objects.select_for_update(of=("self",))
        .select_related("scheme", "tenant", "project", "lead")
        .get(pk=decision.application_id)
    )
    if by.pk == application.recorded_by_id:
        raise SamePerson(_("You recorded this application. Someone else has to confirm the decision on it."))
    _refuse_interest(application, by)
    seen = application.state
    confirmed = Decision.objects.waiting().filter(pk=decision.pk, recorded_at=decision.recorded_at)
    if confirmed.exists():
        _refuse_without_recorder(decision, at)
    if not confirmed.update(confirmed_by=by, confirmed_at=at):
        raise AlreadyDecided(_("This decision was confirmed or changed in the meantime. Look at it again."))
    decision.confirmed_by, decision.confirmed_at = by, at
    for state in road_to_decision(application.state):
        step(application=application, to=state, by=by, at=at)
    if decision.outcome == Decision.Outcome.NOT_APPROVED:
        step(application=application, to=State.NOT_APPROVED, by=by, at=at, reason=decision.reason)
    else:
        _carry_out(decision, application, by, at)
    record(
        act="confirm_decision",
        on=application,
        by=by,
        at=at,
        reason=decision.reason,
        changes={"state": [seen, str(application.state)], "recorded_by": decision.recorded_by},
    )
    return decision


def _carry_out(decision: Decision, application: Application, by: User, at: datetime) -> Award:
    """Offer and acceptance at one instant: money, project, hours."""
    assert decision.starts_on is not None  # noqa: S101  a CHECK holds it for approvals
    assert decision.ends_on is not None  # noqa: S101
    today = timezone.localtime(at).date()
    if decision.amount_cents:
        fund.post(
            kind=FundEntry.Kind.RESERVE,
            cents=decision.amount_cents,
            application=application,
            effective_on=today,
            asked_by=decision.recorded_by,
            approved_by=by,
            at=at,
            key=f"reserve:{application.number}",
            reason=decision.reason[:500],
        )
    step(application=application, to=State.OFFERED, by=by, at=at)
    step(application=application, to=State.ACCEPTED, by=by, at=at)
    project = _project_of(application, by, at)
    award = Award.objects.create(
        application=application,
        decision=decision,
        number=f"S-{application.number.removeprefix('A-')}",
        project=project,
        rate_bp=decision.rate_bp,
        amount_cents=decision.amount_cents,
        starts_on=decision.starts_on,
        ends_on=decision.ends_on,
        created_at=at,
    )
    if decision.amount_cents:
        fund.post(
            kind=FundEntry.Kind.COMMIT,
            cents=decision.amount_cents,
            application=application,
            award=award,
            effective_on=today,
            asked_by=decision.recorded_by,
            approved_by=by,
            at=at,
            key=f"commit:{award.number}",
            reason=decision.reason[:500],
        )
    _grant_hours(decision, award, by, at)
    SubsidyProject.objects.create(award=award, project=project, standing=SubsidyProject.Standing.ACTIVE)
    record(
        act="award",
        on=award,
        by=by,
        at=at,
        reason=decision.reason,
        changes={
            "project": [None, project],
            "rate_bp": [None, award.rate_bp],
            "amount_cents": [None, award.amount_cents],
            "period": [None, [award.starts_on, award.ends_on]],
        },
    )
    return award


def _project_of(application: Application, by: User, at: datetime) -> Project:
    """The project that the application joins, or the new one, with its lead."""
    if application.project is not None:
        if application.project.standing != Standing.ACTIVE:
            raise NotPossible(_("The project %(code)s is not active.") % {"code": application.project.code})
        return application.project
    return tenants.register_project(
        tenant=application.tenant,
        code=application.new_project_code,
        title=application.title,
        summary=application.summary,
        lead=application.lead,
        by=by,
        at=at,
    )


def _grant_hours(decision: Decision, award: Award, by: User, at: datetime) -> None:
    """Open an allocation per pool, in one order of clusters and pools, and link its grant to the award."""
    for grant in decision.grants.select_related("pool__cluster").order_by("pool__cluster_id", "pool_id"):
        allocation = ledger.open_allocation(
            project=award.project,
            pool=grant.pool,
            reference=f"{award.number}-{grant.pool.code}",
            account=decision.account or award.project.code,
            funding=Allocation.Funding.SUBSIDISED,
            start_on=award.starts_on,
            end_on=award.ends_on,
            seconds=grant.gpu_seconds,
            by=decision.recorded_by,
            approved_by=by,
            at=at,
            reason=_("Award %(number)s") % {"number": award.number},
            source_kind="award",
            source_reference=award.number,
        )
        AwardGrant.objects.create(
            award=award,
            allocation=allocation,
            entry=LedgerEntry.objects.get(allocation=allocation, kind=LedgerEntry.Kind.GRANT),
            gpu_seconds=grant.gpu_seconds,
        )


def _refuse_interest(application: Application, by: User) -> None:
    """HasInterest for the lead, a member of the project and whoever signs for the tenant."""
    interested = (
        by.pk == application.lead_id
        or Representative.objects.filter(tenant=application.tenant_id, user=by, ended_at__isnull=True).exists()
        or (
            application.project_id is not None
            and Membership.objects.current().filter(project=application.project_id, user=by).exists()
        )
    )
    if interested:
        raise HasInterest(_("You belong to this application's project or tenant; others have to decide on it."))


def _told(
    decision: Decision,
    act: str,
    by: User,
    at: datetime,
    *,
    grants: Mapping[GpuPool, int] | None = None,
    conditions: Sequence[Asked] = (),
    because: str = "",
) -> None:
    """The event of a decision that was recorded or taken back, with all that it says."""
    record(
        act=act,
        on=decision.application,
        by=by,
        at=at,
        reason=because or decision.reason,
        changes={
            "outcome": decision.outcome,
            "rate_bp": decision.rate_bp,
            "amount_cents": decision.amount_cents,
            "exceptional_grounds": decision.exceptional_grounds,
            "period": [decision.starts_on, decision.ends_on],
            "grants": {pool.code: seconds for pool, seconds in (grants or {}).items()},
            "conditions": [[condition.text, condition.due_on] for condition in conditions],
            "reason": decision.reason,
        },
    )
