"""Suspend an allocation and resume it: one officer does it, with what is still going on in sight."""

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from allocations import suspending
from allocations.admin.proposing import balance_of, facts_of, text_field
from allocations.models import Allocation, ChangeRequest, JobRun
from allocations.posting import LedgerError
from allocations.refusals import RequestError
from centre.admin.acts import Effect, act_page
from centre.admin.kept import ActLink, KeptAdmin
from centre.http import signed_in
from centre.templatetags.portal import written_instant

REFUSALS = (LedgerError, RequestError)
State = Allocation.State


class ReasonForTheTeamForm(forms.Form):
    reason = text_field(_("Reason"), help_text=_("The team’s lead and managers are written this."))


def moves_of(allocation: Allocation) -> list[ActLink]:
    """Where the allocation can go from where it stands, by an officer's own act."""
    links = {
        State.SUSPENDED: ActLink(_("Suspend"), "../suspend/"),
        State.OPEN: ActLink(_("Resume"), "../resume/"),
    }
    possible = suspending.MOVES[State(allocation.state)]
    return [link for state, link in links.items() if state in possible]


def suspend_page(request: HttpRequest, page: KeptAdmin[Any], allocation: Allocation) -> HttpResponse:
    """New jobs stop; what runs and waits is told first."""

    def run(given: dict[str, Any]) -> tuple[str, Allocation]:
        at = timezone.now()
        suspending.suspend_allocation(allocation=allocation, reason=given["reason"], by=signed_in(request), at=at)
        return gettext("%(reference)s is suspended: no new job starts on it.") % said_of(allocation), allocation

    return act_page(
        request,
        admin=page,
        row=allocation,
        title=_("Suspend"),
        explanation=_(
            "No new job starts until an officer resumes the allocation. The GPU-hours stay, and so does the last day: "
            "the period goes on meanwhile, and at its end the rule of the GPU pool holds for what is left."
        ),
        facts=[*facts_of(allocation), *balance_of(allocation)],
        effects=[*state_to(allocation, State.SUSPENDED), *going_on(allocation)],
        form=ReasonForTheTeamForm(request.POST or None),
        button=_("Suspend"),
        danger=True,
        run=run,
        refusals=REFUSALS,
    )


def resume_page(request: HttpRequest, page: KeptAdmin[Any], allocation: Allocation) -> HttpResponse:
    """New jobs start again; why they stopped stands on the page."""

    def run(given: dict[str, Any]) -> tuple[str, Allocation]:
        at = timezone.now()
        suspending.resume_allocation(allocation=allocation, reason=given["reason"], by=signed_in(request), at=at)
        return gettext("%(reference)s is open again: new jobs start on it.") % said_of(allocation), allocation

    return act_page(
        request,
        admin=page,
        row=allocation,
        title=_("Resume"),
        explanation=_("New jobs start again as before. The last day of the period is what it was."),
        facts=[*facts_of(allocation), *balance_of(allocation), *suspended_facts(allocation)],
        effects=state_to(allocation, State.OPEN),
        form=ReasonForTheTeamForm(request.POST or None),
        button=_("Resume"),
        run=run,
        refusals=REFUSALS,
    )


def said_of(allocation: Allocation) -> dict[str, str]:
    return {"reference": allocation.reference}


def state_to(allocation: Allocation, to: State) -> list[Effect]:
    return [Effect(_("State"), allocation.get_state_display(), to.label)] if allocation.state != to else []


def going_on(allocation: Allocation) -> list[Effect]:
    """Jobs that run and requests that wait, and that a suspension leaves them as they are; two queries."""
    running = JobRun.objects.unfinished().filter(
        cluster=allocation.pool.cluster_id, account=allocation.account, start_at__isnull=False
    )
    waiting = ChangeRequest.objects.waiting().filter(allocation=allocation)
    return [
        Effect(_("Jobs that run now"), str(running.count()), gettext("go on to their end and are charged")),
        Effect(_("Requests that wait"), str(waiting.count()), gettext("stay, and can be answered")),
    ]


def suspended_facts(allocation: Allocation) -> list[tuple[str | Promise, str]]:
    """Since when and why it is suspended."""
    if allocation.suspended_at is None:
        return []
    return [
        (_("Suspended since"), written_instant(allocation.suspended_at)),
        (_("Suspended because"), allocation.suspended_because),
    ]
