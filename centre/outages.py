"""GPUs out of service for a while: note an outage, let it end at another time. Outages at one time add up."""

from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from centre.audit import record
from centre.machines import MachineError
from centre.models import GpuPool, Outage, User


class EndsBeforeItStarts(MachineError):
    """An outage ends after it starts."""


class NotEarlier(MachineError):
    """The outage ends by then already."""


@transaction.atomic
def note_outage(
    *, pool: GpuPool, gpus: int, starts_at: datetime, ends_at: datetime, reason: str, by: User | None, at: datetime
) -> Outage:
    """Note that GPUs of a pool were, or will be, out of service. The same again changes nothing."""
    refuse_backwards(starts_at=starts_at, ends_at=ends_at)
    outage, made = Outage.objects.get_or_create(
        pool=pool, gpus=gpus, starts_at=starts_at, ends_at=ends_at, reason=reason
    )
    if made:
        record(
            act="note_outage",
            on=outage,
            by=by,
            at=at,
            changes={"pool": pool.code, "gpus": gpus, "starts_at": starts_at, "ends_at": ends_at, "reason": reason},
        )
    return outage


@transaction.atomic
def end_outage(*, outage: Outage, ends_at: datetime, reason: str, by: User, at: datetime) -> Outage:
    """Let an outage end earlier than was noted. The same instant again changes nothing. Raises NotEarlier."""
    row = Outage.objects.select_for_update(of=("self",)).get(pk=outage.pk)
    if row.ends_at == ends_at:
        return outage
    refuse_ending(row, ends_at=ends_at)
    Outage.objects.filter(pk=row.pk).update(ends_at=ends_at)
    outage.ends_at = ends_at
    record(act="end_outage", on=outage, by=by, at=at, reason=reason, changes={"ends_at": [row.ends_at, ends_at]})
    return outage


def refuse_ending(outage: Outage, *, ends_at: datetime) -> None:
    """Why the outage cannot end then; nothing when it can. Raises NotEarlier, EndsBeforeItStarts."""
    refuse_backwards(starts_at=outage.starts_at, ends_at=ends_at)
    if ends_at > outage.ends_at:
        raise NotEarlier(_("The outage ends before that already. To make it longer, change its end on its page."))


def refuse_backwards(*, starts_at: datetime, ends_at: datetime) -> None:
    """Raises EndsBeforeItStarts for times that are the wrong way round."""
    if ends_at <= starts_at:
        raise EndsBeforeItStarts(_("The outage ends before it starts."))


def at_the_same_time(*, pool: GpuPool, starts_at: datetime, ends_at: datetime) -> QuerySet[Outage]:
    """Outages of the pool that are noted for a part of that time already; the GPUs of all of them are added up."""
    return Outage.objects.filter(pool=pool, starts_at__lt=ends_at, ends_at__gt=starts_at).order_by("starts_at")
