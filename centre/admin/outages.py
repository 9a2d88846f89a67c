"""Outages: noted, mended and ended early, and what each does to what is promised told before it is confirmed."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from centre import facility, machines, outages
from centre.admin import over_commitment
from centre.admin.acts import Confirmation, Effect, act_page, act_urls, row_of_act
from centre.admin.choosing import NamedInstant, ReasonForm, chosen
from centre.admin.kept import ActLink, KeptAdmin
from centre.days import validate_day
from centre.http import signed_in
from centre.models import GpuPool, Outage

MAY_ADD, MAY_CHANGE = "centre.add_outage", "centre.change_outage"


def validate_instant(given: datetime) -> None:
    """In a year that can be meant."""
    validate_day(given.date())


def instant(**options: Any) -> forms.SplitDateTimeField:
    """A day in a year that can be meant, and a time of day, as the centre's clocks show it."""
    return forms.SplitDateTimeField(widget=NamedInstant(), validators=[validate_instant], **options)


class NotingForm(forms.Form):
    pool = chosen(Outage, "pool")
    gpus = forms.IntegerField(label=_("GPUs out of service"), min_value=1, max_value=10_000_000)
    starts_at = instant(label=_("Starts at"))
    ends_at = instant(label=_("Ends at"), help_text=_("As far as is known now; it can be mended later."))
    reason = forms.CharField(
        label=_("Reason"), max_length=300, help_text=_("Short, such as “Cooling in hall A is replaced”.")
    )


class EndingForm(ReasonForm):
    ends_at = instant(label=_("Ends at"))
    field_order = ("ends_at", "reason")


@admin.register(Outage)
class OutageAdmin(KeptAdmin[Outage]):
    list_display = ("reason", "pool", "gpus", "starts_at", "ends_at")
    list_select_related = ("pool",)
    list_filter = ("pool",)
    search_fields = ("reason", "pool__code")
    autocomplete_fields = ("pool",)
    formfield_overrides = {
        models.DateTimeField: {
            "form_class": forms.SplitDateTimeField,
            "widget": NamedInstant,
            "validators": [validate_instant],
        }
    }
    fields = ("pool", "gpus", "starts_at", "ends_at", "reason")

    def get_readonly_fields(self, request: HttpRequest, obj: Outage | None = None) -> tuple[str, ...]:
        """An outage of another pool is another outage."""
        return ("pool",) if obj else ()

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Note an outage, once what it does to what is promised was shown."""
        if not self.has_add_permission(request):
            raise PermissionDenied

        def confirm(given: dict[str, Any]) -> Confirmation:
            outages.refuse_backwards(starts_at=given["starts_at"], ends_at=given["ends_at"])
            pool, gpus = given["pool"], given["gpus"]
            now = facility.service_of(pool)
            return over_commitment.confirmation(
                now,
                now.with_gap(given["starts_at"], given["ends_at"], gpus),
                first_on=given["starts_at"].astimezone(pool.cluster.zone).date(),
                effects=[Effect(_("GPUs in service on that day"), *in_service(now, given, gpus))],
                warnings=also_out(pool, given["starts_at"], given["ends_at"]),
            )

        def run(given: dict[str, Any]) -> tuple[str, Outage]:
            noted = outages.note_outage(**given, by=signed_in(request), at=timezone.now())
            return gettext("The outage is noted."), noted

        return act_page(
            request,
            admin=self,
            row=None,
            title=_("Note an outage"),
            explanation=_(
                "GPUs out of service are taken from what the pool can give. Outages at the same time are added up, "
                "but never beyond what is in service. Runs and charges stay as they are."
            ),
            form=NotingForm(request.POST or None),
            button=_("Note the outage"),
            run=run,
            confirm=confirm,
            refusals=(machines.MachineError,),
        )

    def save_model(self, request: HttpRequest, obj: Outage, form: Any, change: bool) -> None:
        """Saved with its trace; what it makes worse is said on the next page."""
        stored = Outage.objects.select_related("pool__cluster").get(pk=obj.pk)
        before = facility.service_of(stored.pool)
        super().save_model(request, obj, form, change)
        first_on = min(stored.starts_at, obj.starts_at).astimezone(stored.pool.cluster.zone).date()
        over_commitment.tell_worse(request, before, facility.service_of(stored.pool), first_on)

    def acts(self, request: HttpRequest, obj: Outage) -> list[ActLink]:
        if obj.ends_at > timezone.now() and request.user.has_perm(MAY_CHANGE):
            return [ActLink(_("End it earlier"), "../end/")]
        return []

    def get_urls(self) -> list[URLPattern]:
        return [*act_urls(self, [("end", self.end)]), *super().get_urls()]

    def end(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The GPUs are back in service earlier than was noted."""
        outage: Outage = row_of_act(self, request, object_id, MAY_CHANGE)
        pool = GpuPool.objects.select_related("cluster").get(pk=outage.pool_id)

        def confirm(given: dict[str, Any]) -> Confirmation:
            outages.refuse_ending(outage, ends_at=given["ends_at"])
            now = facility.service_of(pool)
            without = now.without_gap(outage.starts_at, outage.ends_at, outage.gpus)
            return over_commitment.confirmation(
                now,
                without.with_gap(outage.starts_at, given["ends_at"], outage.gpus),
                first_on=outage.starts_at.astimezone(pool.cluster.zone).date(),
                effects=[Effect(_("Ends at"), told(outage.ends_at), told(given["ends_at"]))],
            )

        def run(given: dict[str, Any]) -> tuple[str, Outage]:
            outages.end_outage(outage=outage, by=signed_in(request), at=timezone.now(), **given)
            return gettext("The outage ends on %(instant)s.") % {"instant": told(outage.ends_at)}, outage

        return act_page(
            request,
            admin=self,
            row=outage,
            title=_("End the outage earlier"),
            facts=(
                (_("GPU pool"), str(pool)),
                (_("GPUs out of service"), str(outage.gpus)),
                (_("Starts at"), told(outage.starts_at)),
                (_("Ends at"), told(outage.ends_at)),
            ),
            form=EndingForm(request.POST or None, initial={"ends_at": timezone.now()}),
            button=_("End it then"),
            run=run,
            confirm=confirm,
            refusals=(machines.MachineError,),
        )


def told(at: datetime) -> str:
    """An instant as the centre's clocks show it."""
    return date_format(timezone.localtime(at), "DATETIME_FORMAT")


def in_service(service: facility.PoolService, given: dict[str, Any], gpus: int) -> tuple[str, str]:
    """How many GPUs are in service on the day when the outage begins, and how many it leaves of them at most."""
    standing = service.gpus_on(given["starts_at"].astimezone(service.pool.cluster.zone).date())
    return str(standing), str(max(standing - gpus, 0))


def also_out(pool: GpuPool, starts_at: datetime, ends_at: datetime) -> list[str]:
    """That other outages are noted for a part of the time: the same GPUs must not be taken away twice."""
    others = list(outages.at_the_same_time(pool=pool, starts_at=starts_at, ends_at=ends_at))
    if not others:
        return []
    said = {
        "number": len(others),
        "gpus": sum(other.gpus for other in others),
        "reasons": "; ".join(other.reason for other in others[:3]),
    }
    return [
        ngettext(
            "%(number)s outage of %(gpus)s GPUs is noted for a part of that time already (%(reasons)s). They are added "
            "up: where these are the same GPUs, mend that outage instead.",
            "%(number)s outages of %(gpus)s GPUs together are noted for a part of that time already (%(reasons)s). "
            "They are added up: where these are the same GPUs, mend one of those instead.",
            len(others),
        )
        % said
    ]
