"""The front page, and where a person goes after signing in. A composition root: it may look up, nothing imports it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from django.contrib.auth.decorators import login_not_required
from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from allocations.shares import shares
from centre import registry
from centre.facility import PoolService, Step
from centre.http import signed_in
from centre.models import GpuPool, ListPrice, Project, Site, User
from centre.permissions import StaffRole
from subsidies.models import Application, Scheme

AT_THE_DESK = frozenset(
    {
        StaffRole.TENANT_OFFICER,
        StaffRole.ALLOCATION_OFFICER,
        StaffRole.FINANCE_OFFICER,
        StaffRole.COMMITTEE_CHAIR,
        StaffRole.ADMINISTRATOR,
    }
)
"""Whose day begins at the desk, even when nothing waits there."""


@dataclass(frozen=True)
class PoolOnOffer:
    """A pool in service: how many GPUs, and what an hour of one costs (cents; None when no price is set)."""

    pool: GpuPool
    gpus: int
    cents_per_gpu_hour: int | None


@dataclass(frozen=True)
class PlannedStep:
    """A dated change of a pool's capacity that is still to come."""

    site: Site
    pool: GpuPool
    step: Step

    @property
    def change(self) -> int:
        """GPUs more; below zero: fewer."""
        return self.step.gpus - self.step.before


@require_safe
@login_not_required
def front(request: HttpRequest) -> HttpResponse:
    """The centre introduces itself to everybody; every figure is worked out from the records at this moment."""
    now = timezone.now()
    today = timezone.localdate(now)
    both = shares(at=now)
    on_offer = pools_on_offer(both.services, today)
    scheme = Scheme.objects.current(on=today)
    context = {
        "section": "front",
        "now": now,
        "on_offer": on_offer,
        "gpus_in_service": sum(offer.gpus for offer in on_offer),
        "planned": planned_steps(both.services, today),
        "committed": both.committed,
        "used": both.used,
        "scheme": scheme,
    }
    if scheme is not None:
        applications = Application.objects.filter(scheme=scheme)
        context["received"] = applications.received().count()
        context["approved"] = applications.approved().count()
    return render(request, "front.html", context)


def pools_on_offer(services: Iterable[PoolService], day: date) -> list[PoolOnOffer]:
    """The pools with GPUs in service on a day, with their price of that day."""
    prices: dict[int, int] = {}
    for price in ListPrice.objects.on(day):
        prices.setdefault(price.pool_id, price.cents_per_gpu_hour)
    return [
        PoolOnOffer(service.pool, gpus, prices.get(service.pool.pk))
        for service in services
        if (gpus := service.gpus_on(day))
    ]


def planned_steps(services: Iterable[PoolService], day: date) -> list[PlannedStep]:
    """What will change after a day, the sites in their order and the next change of each first."""
    steps = [
        PlannedStep(service.pool.cluster.site, service.pool, step)
        for service in services
        for step in service.planned_after(day)
    ]
    return sorted(steps, key=lambda planned: (planned.site.code, planned.step.from_on, planned.pool.code))


@require_safe
@login_not_required
def health(request: HttpRequest) -> HttpResponse:
    """Answers once the database does."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
def desk(request: HttpRequest) -> HttpResponse:
    """For the centre's staff: what waits for this person, what to keep an eye on, what they asked for, what goes on."""
    user, now = signed_in(request), timezone.now()
    if not user.is_staff:
        raise Http404
    return render(request, "desk.html", {"section": "desk", "now": now, "desk": registry.desk_of(user, now)})


@require_safe
def after_sign_in(request: HttpRequest) -> HttpResponse:
    """To the one project of someone who has one, to their work for staff who have none, else to the list."""
    user = signed_in(request)
    projects = Project.objects.belonging_to(user)[:2]
    match list(projects):
        case [project]:
            return redirect(project)
        case [] if StaffRole.MANAGEMENT in user.staff_roles:
            return redirect("reports")
        case [] if user.is_staff:
            return redirect("desk" if begins_at_the_desk(user) else "admin:index")
    return redirect("projects")


def begins_at_the_desk(user: User) -> bool:
    """Officers, administrators and the chair always; the other staff when something waits for them."""
    if not AT_THE_DESK.isdisjoint(user.staff_roles):
        return True
    return bool(registry.waits_for(user, timezone.now()))
