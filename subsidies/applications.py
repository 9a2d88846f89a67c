"""What happens to an application before the decision: record, change, move along, withdraw, mark ineligible."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from centre.audit import changes_between, record
from centre.models import GpuPool, Project, Tenant, User
from centre.models.tenants import Standing
from subsidies import life_cycle
from subsidies.life_cycle import AlreadyDecided, NotPossible, State
from subsidies.models import Application, ApplicationAsk, ApplicationStep, Decision, Scheme

CHANGEABLE = (
    "tenant",
    "project",
    "new_project_code",
    "lead",
    "title",
    "summary",
    "received_on",
    "starts_on",
    "ends_on",
)


@transaction.atomic
def record_application(
    *,
    scheme: Scheme,
    tenant: Tenant,
    title: str,
    asks: Mapping[GpuPool, int],
    received_on: date,
    starts_on: date,
    ends_on: date,
    by: User,
    at: datetime,
    project: Project | None = None,
    new_project_code: str = "",
    lead: User | None = None,
    summary: str = "",
) -> Application:
    """Record an application that reached the centre on `received_on`; `asks` are GPU-seconds per pool.

    It is for an existing `project` of the tenant, or for a new one with `new_project_code` and `lead`. It stands at
    submitted. Raises ValidationError, by field.
    """
    application = Application(
        scheme=scheme,
        tenant=tenant,
        project=project,
        new_project_code=new_project_code,
        lead=lead,
        title=title,
        summary=summary,
        received_on=received_on,
        starts_on=starts_on,
        ends_on=ends_on,
        recorded_by=by,
        recorded_at=at,
    )
    check(application, asks, at=at)
    application.number = _next_number(received_on)
    application.save(force_insert=True)
    ApplicationAsk.objects.bulk_create(
        ApplicationAsk(application=application, pool=pool, gpu_seconds=seconds) for pool, seconds in asks.items()
    )
    record(
        act="record_application",
        on=application,
        by=by,
        at=at,
        changes={
            "tenant": [None, tenant],
            "title": [None, title],
            "project": [None, project or new_project_code],
            "asks": [None, _told(asks)],
            "period": [None, [starts_on, ends_on]],
        },
    )
    step(application=application, to=State.SUBMITTED, by=by, at=at)
    return application


@transaction.atomic
def change_application(*, application: Application, by: User, at: datetime, **fields: Any) -> Application:
    """Mend what was recorded wrongly, before a decision stands on it. `fields` are some of CHANGEABLE.

    Raises NotPossible once a decision is recorded, ValidationError by field.
    """
    unknown = fields.keys() - set(CHANGEABLE)
    assert not unknown, unknown  # noqa: S101  a mistake in the program, not in what somebody wrote
    _refuse_when_decided(application)
    before = {field: getattr(application, field) for field in fields}
    changes = changes_between(before, fields)
    if changes:
        for field, value in fields.items():
            setattr(application, field, value)
        check(application, None, at=at)
        application.save(update_fields=list(fields))
        record(act="change_application", on=application, by=by, at=at, changes=changes)
    return application


@transaction.atomic
def change_asks(*, application: Application, asks: Mapping[GpuPool, int], by: User, at: datetime) -> Application:
    """Write the GPU-seconds asked for per pool anew. Raises NotPossible once a decision is recorded."""
    _refuse_when_decided(application)
    check(application, asks, at=at)
    before = {ask.pool: ask.gpu_seconds for ask in application.asks.select_related("pool")}
    if before != dict(asks):
        application.asks.all().delete()
        ApplicationAsk.objects.bulk_create(
            ApplicationAsk(application=application, pool=pool, gpu_seconds=seconds) for pool, seconds in asks.items()
        )
        record(
            act="change_asks",
            on=application,
            by=by,
            at=at,
            changes={"asks": [_told(before), _told(asks)]},
        )
    return application


@transaction.atomic
def withdraw(*, application: Application, reason: str, by: User, at: datetime) -> Application:
    """The tenant takes the application back, before the decision. Raises NotPossible afterwards."""
    seen = str(application.state)
    _refuse_when_decided(application)
    step(application=application, to=State.WITHDRAWN, by=by, at=at, reason=reason)
    changes = {"state": [seen, str(application.state)]}
    record(act="withdraw_application", on=application, by=by, at=at, reason=reason, changes=changes)
    return application


@transaction.atomic
def mark_ineligible(*, application: Application, reason: str, by: User, at: datetime) -> Application:
    """Screening found that the scheme is not for this application. Raises NotPossible later than screening."""
    seen = str(application.state)
    _refuse_when_decided(application)
    if application.state == State.SUBMITTED:
        step(application=application, to=State.SCREENING, by=by, at=at)
    step(application=application, to=State.INELIGIBLE, by=by, at=at, reason=reason)
    changes = {"state": [seen, str(application.state)]}
    record(act="mark_ineligible", on=application, by=by, at=at, reason=reason, changes=changes)
    return application


def step(*, application: Application, to: State, by: User, at: datetime, reason: str = "") -> ApplicationStep:
    """Move an application one state on, if it still stands where it was seen; the only writer of its state.

    Raises NotPossible when the table has no such move, AlreadyDecided when somebody else moved it first.
    """
    seen = State(application.state)
    if not life_cycle.may_move(seen, to):
        raise NotPossible(
            _("An application that is “%(seen)s” cannot become “%(to)s”.") % {"seen": seen.label, "to": to.label}
        )
    with transaction.atomic():
        if not Application.objects.filter(pk=application.pk, state=seen).update(state=to):
            raise AlreadyDecided(_("Somebody else has moved this application in the meantime. Look at it again."))
        application.state = to
        return ApplicationStep.objects.create(
            application=application, from_state=seen, to_state=to, by=by, at=at, reason=reason
        )


def check(application: Application, asks: Mapping[GpuPool, int] | None, *, at: datetime) -> None:
    """Raise ValidationError, by field, for what cannot be right; the asks are looked at when they are given."""
    wrong: dict[str, str] = {}
    application.clean_fields(exclude=["number", "scheme", "tenant", "project", "lead", "recorded_by"])
    if application.project is not None and application.project.tenant_id != application.tenant_id:
        wrong["project"] = _("This project belongs to another tenant.")
    if application.project is not None and (application.new_project_code or application.lead):
        wrong["new_project_code"] = _("Leave code and lead empty when an existing project is chosen.")
    if application.project is None and not (application.new_project_code and application.lead):
        wrong["project"] = _("Choose an existing project, or give the code and the lead of a new one.")
    if application.new_project_code and Project.objects.filter(code=application.new_project_code).exists():
        wrong["new_project_code"] = _("There is already a project with this code.")
    if application.received_on and application.received_on > timezone.localtime(at).date():
        wrong["received_on"] = _("The application cannot be received later than today.")
    if application.starts_on and application.ends_on and application.ends_on < application.starts_on:
        wrong["ends_on"] = _("The last day is before the first.")
    if application.tenant.standing == Standing.CLOSED:
        wrong["tenant"] = _("This tenant is closed.")
    if wrong:
        raise ValidationError(wrong)
    if asks is not None and (not asks or any(seconds <= 0 for seconds in asks.values())):
        raise ValidationError(_("Ask for more than 0 GPU-hours on at least one pool."))


def _next_number(received_on: date) -> str:
    """The next number of the year, such as A-2026-014.

    The schemes' rows are locked until the transaction ends, so that two recorders never draw the same number and a
    recording that fails leaves no gap.
    """
    list(Scheme.objects.select_for_update().order_by("pk").values_list("pk", flat=True))
    prefix = f"A-{received_on.year}-"
    taken = Application.objects.filter(number__startswith=prefix).values_list("number", flat=True)
    last = max((int(number.removeprefix(prefix)) for number in taken), default=0)
    return f"{prefix}{last + 1:03d}"


def _refuse_when_decided(application: Application) -> None:
    """NotPossible once a decision is recorded: it was made on what stands here."""
    if Decision.objects.filter(application=application).exists() or not application.is_undecided:
        raise NotPossible(
            _("This application waits for the confirmation of its decision, or is past it; it cannot be changed.")
        )


def _told(asks: Mapping[GpuPool, int]) -> dict[str, int]:
    return {pool.code: seconds for pool, seconds in asks.items()}
