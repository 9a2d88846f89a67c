"""Builders for the subsidy scheme's tests, made through the verbs; a test names only what it is about.

case = cases.application(hours={pool: 500})
decision = cases.decision(application=case)
award = cases.award(application=case)
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import count

from django.utils import timezone

from centre.models import GpuPool, Project, Tenant, User
from centre.permissions import StaffRole
from subsidies import applications, awards
from subsidies.models import Application, Award, Decision, Scheme
from tests import make

_number = count(1)
MILLION = 100_000_000  # HK$1 million in cents


def scheme(*, envelope_cents: int = 3_000 * MILLION, code: str = "", **fields: int) -> Scheme:
    """A scheme that began 300 days ago and runs three years."""
    began = make.today() - timedelta(days=300)
    return Scheme.objects.create(
        code=code or f"scheme-{next(_number)}",
        name_en="Subsidy scheme",
        envelope_cents=envelope_cents,
        starts_on=began,
        ends_on=began + timedelta(days=1095),
        **fields,
    )


_new_scheme = scheme  # where `scheme` is the name of an argument


def secretary() -> User:
    return make.staff(StaffRole.SUBSIDY_SECRETARY)


def chair() -> User:
    return make.staff(StaffRole.COMMITTEE_CHAIR)


def application(
    *,
    scheme: Scheme | None = None,
    tenant: Tenant | None = None,
    project: Project | None = None,
    hours: Mapping[GpuPool, int] | None = None,
    title: str = "",
    by: User | None = None,
    new_project_code: str = "",
) -> Application:
    """An application for a new project (or the given one), for a year from today, received ten days ago."""
    n = next(_number)
    wanted = hours or {make.pool(): 1_000}
    return applications.record_application(
        scheme=scheme or Scheme.objects.current() or _new_scheme(),
        tenant=tenant or (project.tenant if project else make.tenant()),
        project=project,
        new_project_code="" if project else new_project_code or f"new-{n}",
        lead=None if project else make.person(),
        title=title or f"Application {n}",
        asks={pool: number * make.HOUR for pool, number in wanted.items()},
        received_on=make.today() - timedelta(days=10),
        starts_on=make.today(),
        ends_on=make.today() + timedelta(days=364),
        by=by or secretary(),
        at=timezone.now(),
    )


_new_application = application  # where `application` is the name of an argument


def decision(
    *,
    application: Application | None = None,
    seconds: Mapping[GpuPool, int] | None = None,
    rate_bp: int = 7_000,
    exceptional_grounds: str = "",
    conditions: Sequence[awards.Asked] = (),
    starts_on: date | None = None,
    ends_on: date | None = None,
    account: str = "",
    by: User | None = None,
) -> Decision:
    """A recorded, unconfirmed approval of what was asked for (or of `seconds`)."""
    case = application or _new_application()
    assert case.starts_on is not None
    assert case.ends_on is not None
    return awards.record_decision(
        application=case,
        grants=seconds or {ask.pool: ask.gpu_seconds for ask in case.asks.select_related("pool")},
        rate_bp=rate_bp,
        exceptional_grounds=exceptional_grounds,
        conditions=conditions,
        starts_on=starts_on or case.starts_on,
        ends_on=ends_on or case.ends_on,
        account=account,
        reason="The committee approves.",
        by=by or secretary(),
        at=timezone.now(),
    )


_new_decision = decision  # where `decision` is the name of an argument


def award(*, decision: Decision | None = None, application: Application | None = None, by: User | None = None) -> Award:
    """A confirmed award."""
    recorded = decision or _new_decision(application=application)
    return awards.confirm_decision(decision=recorded, by=by or chair(), at=timezone.now()).award
