"""What the centre lets the scheduler do with new jobs of an allocation, and why.

Plain facts and no query. Teams read it on their pages; `manage.py scheduler_states` tells it to whoever sets the
scheduler. Jobs that run already are never touched by it.
"""

from dataclasses import dataclass
from datetime import date

from django.db import models
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from allocations.models import Allocation
from centre.models.facility import WhenUsedUp
from centre.models.tenants import Standing


class SchedulerState(models.TextChoices):
    """What becomes of new jobs."""

    OPEN = "open", pgettext_lazy("new jobs", "Jobs start")
    SLOWED = "slowed", pgettext_lazy("new jobs", "Jobs are slowed")
    BLOCKED = "blocked", pgettext_lazy("new jobs", "Jobs are blocked")


class Why(models.TextChoices):
    """The reason behind a state; the stored word is what the command prints."""

    TENANT_CLOSED = "tenant_closed", gettext_lazy("The organisation of this project has left the centre.")
    TENANT_SUSPENDED = "tenant_suspended", gettext_lazy("The organisation of this project is suspended.")
    PROJECT_CLOSED = "project_closed", gettext_lazy("The project is closed.")
    PROJECT_SUSPENDED = "project_suspended", gettext_lazy("The project is suspended.")
    ALLOCATION_CLOSED = "allocation_closed", gettext_lazy("The allocation is closed.")
    ALLOCATION_SUSPENDED = "allocation_suspended", gettext_lazy("The allocation is suspended.")
    NOT_BEGUN = "not_begun", gettext_lazy("The period has not begun, so jobs are not covered.")
    ENDED = "ended", gettext_lazy("The period is over, so jobs are not covered.")
    USED_UP = "used_up", gettext_lazy("The GPU-hours are used up.")
    HOURS_LEFT = "hours_left", gettext_lazy("There are GPU-hours left.")


STATE_TONES = {SchedulerState.OPEN: "ok", SchedulerState.SLOWED: "warn", SchedulerState.BLOCKED: "bad"}


@dataclass(frozen=True)
class Scheduling:
    """The state of new jobs, why, and the days on which the allocation covers them."""

    state: SchedulerState
    why: Why
    first_on: date
    last_on: date

    @property
    def tone(self) -> str:
        return STATE_TONES[self.state]

    @property
    def sentence(self) -> str:  # noqa: PLR0911  one line per reason
        """Why it is so, and what it means for the next job, for the team."""
        match self.why, self.state:
            case Why.NOT_BEGUN, _state:
                first = date_format(self.first_on, "DATE_FORMAT")
                return _("Jobs are not covered before the period begins, on %(day)s.") % {"day": first}
            case Why.ENDED, _state:
                last = date_format(self.last_on, "DATE_FORMAT")
                return _("Jobs are not covered any more: the last day was %(day)s.") % {"day": last}
            case Why.USED_UP, SchedulerState.OPEN:
                return _("The GPU-hours are used up. New jobs start as before, and what they use is counted.")
            case Why.USED_UP, SchedulerState.SLOWED:
                return _("The GPU-hours are used up. New jobs start when nobody else waits for the GPUs.")
            case Why.USED_UP, _state:
                return _("The GPU-hours are used up. New jobs wait until there are more.")
            case _why, SchedulerState.OPEN:
                return _("There are GPU-hours left, and the period has begun.")
        return str(self.why.label)


def scheduling_of(
    allocation: Allocation,
    *,
    on: date,
    when_used_up: str,
    first_on: date | None = None,
    last_on: date | None = None,
) -> Scheduling:
    """The state of an allocation's new jobs on a day of its cluster; its project and tenant are loaded.

    `when_used_up` is the centre's rule (`WhenUsedUp`). A further Slurm account may draw on it from `first_on` to
    `last_on` only; by default the days are those of the period.
    """
    tenant, project = allocation.project.tenant.standing, allocation.project.standing
    first_on = max(first_on or allocation.start_on, allocation.start_on)
    last_on = min(last_on or allocation.end_on, allocation.end_on)
    blocked = (
        (Why.TENANT_CLOSED, tenant == Standing.CLOSED),
        (Why.TENANT_SUSPENDED, tenant == Standing.SUSPENDED),
        (Why.PROJECT_CLOSED, project == Standing.CLOSED),
        (Why.PROJECT_SUSPENDED, project == Standing.SUSPENDED),
        (Why.ALLOCATION_CLOSED, allocation.state in {Allocation.State.CLOSED, Allocation.State.VOID}),
        (Why.ALLOCATION_SUSPENDED, allocation.state == Allocation.State.SUSPENDED),
        (Why.NOT_BEGUN, first_on > on),
        (Why.ENDED, last_on < on),
    )
    why = next((why for why, holds in blocked if holds), None)
    if why is not None:
        return Scheduling(SchedulerState.BLOCKED, why, first_on, last_on)
    if allocation.available_seconds <= 0:
        return Scheduling(SchedulerState(WhenUsedUp(when_used_up).value), Why.USED_UP, first_on, last_on)
    return Scheduling(SchedulerState.OPEN, Why.HOURS_LEFT, first_on, last_on)
