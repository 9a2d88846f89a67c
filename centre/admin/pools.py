"""GPU pools: what is in service from when, what it costs, and what each change does, told before it is confirmed."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from centre import facility, machines
from centre.admin import over_commitment
from centre.admin.acts import Confirmation, Effect, act_page, act_urls, row_of_act
from centre.admin.choosing import ReasonForm, day
from centre.admin.kept import ActLink, HistoryInline, KeptAdmin, KeptInline
from centre.forms import DollarsField
from centre.http import signed_in
from centre.models import Capacity, Event, GpuPool, ListPrice, PoolMapping, User
from centre.templatetags.portal import hkd


class CapacityOfPool(KeptInline[Capacity]):
    """Notes can be mended here, with a trace; a change from a day on, and a number put right, are acts of their own."""

    model = Capacity
    fields = ("from_on", "gpus", "note")
    readonly_fields = ("from_on", "gpus")
    verbose_name_plural = _("GPUs in service")
    show_change_link = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class PricesOfPool(HistoryInline[ListPrice]):
    model = ListPrice
    fk_name = "pool"
    fields = ("period", "price", "recorded_at")
    readonly_fields = ("period", "price", "recorded_at")
    verbose_name_plural = _("List prices")
    show_change_link = False

    def belonging(self, rows: QuerySet[ListPrice]) -> QuerySet[ListPrice]:
        return rows.order_by("-from_on")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ListPrice]:
        """With the day on which the next price of the pool takes over."""
        next_on = ListPrice.objects.filter(pool=OuterRef("pool"), from_on__gt=OuterRef("from_on")).order_by("from_on")
        return super().get_queryset(request).annotate(superseded_on=Subquery(next_on.values("from_on")[:1]))

    @admin.display(description=_("in force"))
    def period(self, obj: Any) -> str:
        """From when to when it counts, or counted."""
        return days_told(obj.from_on, obj.superseded_on)

    @admin.display(description=_("HK$ per GPU-hour"))
    def price(self, obj: ListPrice) -> str:
        return hkd(obj.cents_per_gpu_hour, 2)


class MappingsOfPool(HistoryInline[PoolMapping]):
    model = PoolMapping
    fk_name = "pool"
    fields = ("kind", "name", "from_on", "until_on")
    verbose_name_plural = _("Whose runs are this pool's")
    show_change_link = False


class CancellingForm(ReasonForm):
    """Which of the changes that are still to come."""

    from_on = forms.TypedChoiceField(label=_("Planned change"), coerce=date.fromisoformat)
    field_order = ("from_on", "reason")

    def __init__(self, planned: list[facility.Step], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = self.fields["from_on"]
        assert isinstance(choices, forms.TypedChoiceField)  # noqa: S101  named above
        choices.choices = [
            (step.from_on.isoformat(), f"{date_format(step.from_on)}: {step.before} → {step.gpus}") for step in planned
        ]


class MendingForm(ReasonForm):
    """Which number was entered wrongly, and what is right."""

    from_on = forms.TypedChoiceField(label=_("Which number"), coerce=date.fromisoformat)
    gpus = forms.IntegerField(label=_("GPUs in service"), min_value=0, max_value=10_000_000)
    field_order = ("from_on", "gpus", "reason")

    def __init__(self, steps: Sequence[facility.Step], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = self.fields["from_on"]
        assert isinstance(choices, forms.TypedChoiceField)  # noqa: S101  named above
        told = gettext("from %(day)s: %(gpus)s")
        choices.choices = [
            (step.from_on.isoformat(), told % {"day": date_format(step.from_on), "gpus": step.gpus})
            for step in reversed(steps)
        ]


class CapacityForm(forms.Form):
    from_on = day(label=_("From"), help_text=_("The first day with this many GPUs."))
    gpus = forms.IntegerField(label=_("GPUs in service"), min_value=0, max_value=10_000_000)
    note = forms.CharField(label=_("Note"), max_length=300, required=False)


class PriceForm(forms.Form):
    from_on = day(label=_("From"), help_text=_("The first day at this price. It stays until a later price begins."))
    cents = DollarsField(label=_("HK$ per GPU-hour"), min_value=0)
    reason = forms.CharField(
        label=_("Reason"),
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("The auditor reads this."),
    )


@admin.register(GpuPool)
class GpuPoolAdmin(KeptAdmin[GpuPool]):
    list_display = ("code", "gpu_model", "cluster", "site", "in_service", "price")
    list_select_related = ("cluster__site",)
    list_filter = ("cluster__site", "cluster")
    search_fields = ("code", "gpu_model", "cluster__code")
    autocomplete_fields = ("cluster",)
    fields = ("cluster", "code", "gpu_model")
    inlines = (CapacityOfPool, PricesOfPool, MappingsOfPool)
    refusals = (machines.MachineError,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[GpuPool]:
        today = timezone.localdate()
        in_service = Capacity.objects.filter(pool=OuterRef("pk"), from_on__lte=today).order_by("-from_on")
        price = ListPrice.objects.filter(pool=OuterRef("pk"), from_on__lte=today).order_by("-from_on")
        return (
            super()
            .get_queryset(request)
            .annotate(
                gpus_today=Subquery(in_service.values("gpus")[:1]),
                price_today=Subquery(price.values("cents_per_gpu_hour")[:1]),
            )
        )

    def get_readonly_fields(self, request: HttpRequest, obj: GpuPool | None = None) -> tuple[str, ...]:
        return ("cluster", "code") if obj else ()

    @admin.display(description=_("site"), ordering="cluster__site__code")
    def site(self, obj: GpuPool) -> str:
        return obj.cluster.site.name

    @admin.display(description=_("GPUs today"), ordering="gpus_today")
    def in_service(self, obj: Any) -> int:
        return obj.gpus_today or 0

    @admin.display(description=_("HK$ per GPU-hour today"), ordering="price_today")
    def price(self, obj: Any) -> str:
        return hkd(obj.price_today)

    def add_by_verb(self, obj: GpuPool, form: Any, by: User, at: datetime) -> bool:
        made = machines.register_pool(cluster=obj.cluster, code=obj.code, gpu_model=obj.gpu_model, by=by, at=at)
        obj.pk = made.pk
        return True

    def change_by_verb(self, obj: GpuPool, form: Any, by: User, at: datetime) -> bool:
        stored = GpuPool.objects.get(pk=obj.pk)
        machines.change_pool(pool=stored, gpu_model=obj.gpu_model, by=by, at=at)
        return True

    def acts(self, request: HttpRequest, obj: GpuPool) -> list[ActLink]:
        links = []
        if request.user.has_perm("centre.add_capacity"):
            links.append(ActLink(_("Change the GPUs in service"), "../set-capacity/"))
        if request.user.has_perm("centre.change_capacity") and obj.capacities.exists():
            links.append(ActLink(_("Put a number right"), "../mend-capacity/"))
        if request.user.has_perm("centre.change_capacity") and planned_of(obj):
            links.append(ActLink(_("Cancel a planned change"), "../cancel-capacity/"))
        if request.user.has_perm("centre.add_listprice"):
            links.append(ActLink(_("Set a list price"), "../set-price/"))
        return links

    def get_urls(self) -> list[URLPattern]:
        return [
            *act_urls(
                self,
                [
                    ("set-capacity", self.set_capacity),
                    ("mend-capacity", self.mend_capacity),
                    ("cancel-capacity", self.cancel_capacity),
                    ("set-price", self.set_price),
                ],
            ),
            *super().get_urls(),
        ]

    def events_of(self, obj: GpuPool) -> QuerySet[Event]:
        """The pool's own, and those of its capacity, prices and mappings, which have no page of their own."""
        parts = Q(object_type=self.opts.label_lower, object_id=str(obj.pk))
        for model in (Capacity, ListPrice, PoolMapping):
            numbers = [str(pk) for pk in model._default_manager.filter(pool=obj).values_list("pk", flat=True)]
            parts |= Q(object_type=model._meta.label_lower, object_id__in=numbers)
        return Event.objects.filter(parts)

    def set_capacity(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """From a day on the pool has another number of GPUs in service."""
        pool = row_of_act(self, request, object_id, "centre.add_capacity")

        def confirm(given: dict[str, Any]) -> Confirmation:
            from_on, gpus = given["from_on"], given["gpus"]
            now = facility.service_of(pool)
            return over_commitment.confirmation(
                now,
                now.with_step(from_on, gpus),
                first_on=from_on,
                effects=[Effect(until_next(now, from_on), str(now.gpus_on(from_on)), str(gpus))],
            )

        def run(given: dict[str, Any]) -> tuple[str, GpuPool]:
            machines.set_capacity(pool=pool, by=signed_in(request), at=timezone.now(), **given)
            return gettext("From %(day)s on, %(gpus)s GPUs are in service.") % {
                "day": date_format(given["from_on"]),
                "gpus": given["gpus"],
            }, pool

        return act_page(
            request,
            admin=self,
            row=pool,
            title=_("Change the GPUs in service"),
            explanation=_("What stood before that day stays as it is. Outages for a while are entered as outages."),
            facts=((_("In service today"), str(pool.gpus_today or 0)), *planned_facts(pool)),
            form=CapacityForm(request.POST or None),
            button=_("Change from that day on"),
            run=run,
            confirm=confirm,
            refusals=(machines.MachineError,),
        )

    def mend_capacity(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A number that was entered wrongly is put right."""
        pool = row_of_act(self, request, object_id, "centre.change_capacity")
        now = facility.service_of(pool)

        def confirm(given: dict[str, Any]) -> Confirmation:
            from_on, gpus = given["from_on"], given["gpus"]
            return over_commitment.confirmation(
                now,
                now.with_step(from_on, gpus),
                first_on=from_on,
                effects=[Effect(until_next(now, from_on), str(now.gpus_on(from_on)), str(gpus))],
            )

        def run(given: dict[str, Any]) -> tuple[str, GpuPool]:
            machines.mend_capacity(pool=pool, by=signed_in(request), at=timezone.now(), **given)
            return gettext("From %(day)s on, %(gpus)s GPUs are in service.") % {
                "day": date_format(given["from_on"]),
                "gpus": given["gpus"],
            }, pool

        return act_page(
            request,
            admin=self,
            row=pool,
            title=_("Put a number right"),
            explanation=_(
                "For a number that was entered wrongly. Where the pool really changed, change the GPUs in service from "
                "that day on. What stood is kept in the pool’s history."
            ),
            facts=((_("In service today"), str(pool.gpus_today or 0)),),
            form=MendingForm(now.steps, request.POST or None),
            button=_("Put it right"),
            run=run,
            confirm=confirm,
            refusals=(machines.MachineError,),
        )

    def cancel_capacity(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A change that is still to come does not come."""
        pool = row_of_act(self, request, object_id, "centre.change_capacity")
        planned = planned_of(pool)

        def confirm(given: dict[str, Any]) -> Confirmation:
            from_on = given["from_on"]
            machines.refuse_cancelling(pool=pool, from_on=from_on, at=timezone.now())
            now = facility.service_of(pool)
            then = now.with_step(from_on, None)
            return over_commitment.confirmation(
                now,
                then,
                first_on=from_on,
                effects=[Effect(until_next(now, from_on), str(now.gpus_on(from_on)), str(then.gpus_on(from_on)))],
            )

        def run(given: dict[str, Any]) -> tuple[str, GpuPool]:
            machines.cancel_capacity(pool=pool, by=signed_in(request), at=timezone.now(), **given)
            return gettext("The change planned for %(day)s is cancelled.") % {
                "day": date_format(given["from_on"])
            }, pool

        return act_page(
            request,
            admin=self,
            row=pool,
            title=_("Cancel a planned change"),
            explanation=_(
                "What is in service before that day stays so after it. The plan stays in the pool’s history."
            ),
            facts=((_("In service today"), str(pool.gpus_today or 0)),),
            form=CancellingForm(planned, request.POST or None),
            button=_("Cancel the change"),
            run=run,
            confirm=confirm,
            refusals=(machines.MachineError,),
        )

    def set_price(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """From a day on a GPU-hour costs something else; the price before stays for the days before."""
        pool = row_of_act(self, request, object_id, "centre.add_listprice")

        def run(given: dict[str, Any]) -> tuple[str, GpuPool]:
            machines.set_price(
                pool=pool,
                cents_per_gpu_hour=given["cents"],
                from_on=given["from_on"],
                reason=given["reason"],
                by=signed_in(request),
                at=timezone.now(),
            )
            return gettext("From %(day)s on, a GPU-hour costs %(price)s.") % {
                "day": date_format(given["from_on"]),
                "price": hkd(given["cents"], 2),
            }, pool

        return act_page(
            request,
            admin=self,
            row=pool,
            title=_("Set a list price"),
            explanation=_(
                "A price is never rewritten: another follows it from a day on. If that day is over, what was used "
                "since then is valued anew."
            ),
            facts=((_("Price today"), hkd(pool.price_today, 2)),),
            form=PriceForm(request.POST or None),
            button=_("Set the price"),
            run=run,
            confirm=lambda given: price_confirmed(pool, given),
            refusals=(machines.MachineError,),
        )


def days_told(first: date, next_on: date | None) -> str:
    """The days from a first one to the one before the next change; without one it goes on."""
    if next_on is None:
        return gettext("from %(first)s") % {"first": date_format(first)}
    last = date_format(next_on - timedelta(days=1))
    return gettext("from %(first)s to %(last)s") % {"first": date_format(first), "last": last}


def planned_of(pool: GpuPool) -> list[facility.Step]:
    """The changes of the pool's capacity that are still to come on its cluster."""
    today = timezone.now().astimezone(pool.cluster.zone).date()
    return facility.service_of(pool).planned_after(today)


def planned_facts(pool: GpuPool) -> list[tuple[str, str]]:
    """What is planned already, for the page of a change."""
    return [
        (gettext("Planned from %(day)s on") % {"day": date_format(step.from_on)}, f"{step.before} → {step.gpus}")
        for step in planned_of(pool)
    ]


def until_next(service: facility.PoolService, from_on: date) -> str:
    """The days for which a change from a day on holds: until the next planned one."""
    following = next((step.from_on for step in service.steps if step.from_on > from_on), None)
    return gettext("GPUs in service %(days)s") % {"days": days_told(from_on, following)}


def price_confirmed(pool: GpuPool, given: dict[str, Any]) -> Confirmation:
    """From when the price holds; where days are over already, that their usage was valued at another. Two queries."""
    from_on, cents = given["from_on"], given["cents"]
    machines.refuse_price(pool=pool, from_on=from_on, cents_per_gpu_hour=cents)
    prices = ListPrice.objects.filter(pool=pool)
    before = prices.filter(from_on__lt=from_on).order_by("-from_on").first()
    after = prices.filter(from_on__gt=from_on).order_by("from_on").first()
    next_on = after.from_on if after else None
    today = timezone.now().astimezone(pool.cluster.zone).date()
    days = days_told(from_on, next_on)
    warnings = []
    if from_on < today:
        over = days_told(from_on, min(today, next_on or today))
        warnings.append(
            gettext(
                "Days that are over get another price: %(days)s. Usage of these days is valued anew, also what "
                "subsidies pay of it. Statements that were issued stay as they are; the next ones show the difference."
            )
            % {"days": over}
        )
    known = hkd(before.cents_per_gpu_hour, 2) if before else gettext("no list price")
    return Confirmation(
        effects=[Effect(gettext("HK$ per GPU-hour %(days)s") % {"days": days}, known, hkd(cents, 2))],
        warnings=warnings,
    )
