"""Sites, clusters, GPU pools with what is in service and what it costs, outages, and the one row of the centre."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from centre import machines
from centre.admin.acts import act_page, act_urls, row_of_act
from centre.admin.choosing import day
from centre.admin.kept import ActLink, HistoryInline, KeptAdmin, KeptInline
from centre.forms import DollarsField
from centre.http import signed_in
from centre.models import Capacity, Centre, Cluster, GpuPool, ListPrice, Outage, PoolMapping, Site, User
from centre.templatetags.portal import gpu_hours, hkd


@admin.register(Centre)
class CentreAdmin(KeptAdmin[Centre]):
    """The one row: there is nothing to choose from, and no second one can be added."""

    list_display = ("called", "contact_email", "threshold")
    fieldsets = (
        (None, {"fields": ("name_en", "name_zh_hant", "name_zh_hans", "contact_email")}),
        (
            _("What the front page says"),
            {"fields": ("introduction_en", "introduction_zh_hant", "introduction_zh_hans")},
        ),
        (_("Rules"), {"fields": ("when_used_up", "threshold")}),
    )
    readonly_fields = ("threshold",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """As long as there is none, whoever may change the centre's row may make it."""
        return self.has_change_permission(request) and not Centre.objects.exists()

    def save_model(self, request: HttpRequest, obj: Centre, form: Any, change: bool) -> None:
        obj.pk = 1
        super().save_model(request, obj, form, change)

    @admin.display(description=_("name"))
    def called(self, obj: Centre) -> str:
        return obj.name

    @admin.display(description=_("two people above (GPU-hours)"))
    def threshold(self, obj: Centre) -> str:
        """Shown, not changed here: one person must not be able to lift the two-person rule."""
        return gpu_hours(obj.two_person_above_seconds)


@admin.register(Site)
class SiteAdmin(KeptAdmin[Site]):
    list_display = ("code", "called")
    search_fields = ("code", "name_en", "name_zh_hant", "name_zh_hans")
    fields = ("code", "name_en", "name_zh_hant", "name_zh_hans")
    refusals = (machines.MachineError,)

    @admin.display(description=_("name"))
    def called(self, obj: Site) -> str:
        return obj.name

    def add_by_verb(self, obj: Site, form: Any, by: User, at: datetime) -> bool:
        made = machines.register_site(
            code=obj.code,
            name_en=obj.name_en,
            name_zh_hant=obj.name_zh_hant,
            name_zh_hans=obj.name_zh_hans,
            by=by,
            at=at,
        )
        obj.pk = made.pk
        return True


class PoolsOfCluster(HistoryInline[GpuPool]):
    model = GpuPool
    fk_name = "cluster"
    fields = ("code", "gpu_model")
    verbose_name_plural = _("GPU pools")


@admin.register(Cluster)
class ClusterAdmin(KeptAdmin[Cluster]):
    list_display = ("code", "site", "time_zone")
    list_select_related = ("site",)
    list_filter = ("site",)
    search_fields = ("code", "site__code")
    autocomplete_fields = ("site",)
    fields = ("site", "code", "time_zone")
    inlines = (PoolsOfCluster,)
    refusals = (machines.MachineError,)

    def get_readonly_fields(self, request: HttpRequest, obj: Cluster | None = None) -> tuple[str, ...]:
        """The name that Slurm knows and the zone of the accounting days: runs may have been charged by them."""
        return ("code", "time_zone") if obj else ()

    def add_by_verb(self, obj: Cluster, form: Any, by: User, at: datetime) -> bool:
        made = machines.register_cluster(site=obj.site, code=obj.code, time_zone=obj.time_zone, by=by, at=at)
        obj.pk = made.pk
        return True


class CapacityOfPool(KeptInline[Capacity]):
    """Numbers and notes can be mended here, with a trace; a change from a day on is an act of its own."""

    model = Capacity
    fields = ("from_on", "gpus", "note")
    readonly_fields = ("from_on",)
    verbose_name_plural = _("GPUs in service")
    show_change_link = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class PricesOfPool(HistoryInline[ListPrice]):
    model = ListPrice
    fk_name = "pool"
    fields = ("from_on", "price", "recorded_at")
    readonly_fields = ("price", "recorded_at")
    verbose_name_plural = _("List prices")
    show_change_link = False

    def belonging(self, rows: QuerySet[ListPrice]) -> QuerySet[ListPrice]:
        return rows.order_by("-from_on")

    @admin.display(description=_("HK$ per GPU-hour"))
    def price(self, obj: ListPrice) -> str:
        return hkd(obj.cents_per_gpu_hour, 2)


class MappingsOfPool(HistoryInline[PoolMapping]):
    model = PoolMapping
    fk_name = "pool"
    fields = ("kind", "name", "from_on", "until_on")
    verbose_name_plural = _("Whose runs are this pool's")
    show_change_link = False


class CapacityForm(forms.Form):
    from_on = day(label=_("From"), help_text=_("The first day with this many GPUs."))
    gpus = forms.IntegerField(label=_("GPUs in service"), min_value=0)
    note = forms.CharField(label=_("Note"), max_length=300, required=False)


class PriceForm(forms.Form):
    from_on = day(label=_("From"), help_text=_("The first day at this price. It stays until a later price begins."))
    cents = DollarsField(label=_("HK$ per GPU-hour"), min_value=0)


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
        if request.user.has_perm("centre.add_listprice"):
            links.append(ActLink(_("Set a list price"), "../set-price/"))
        return links

    def get_urls(self) -> list[URLPattern]:
        return [
            *act_urls(self, [("set-capacity", self.set_capacity), ("set-price", self.set_price)]),
            *super().get_urls(),
        ]

    def set_capacity(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """From a day on the pool has another number of GPUs in service."""
        pool = row_of_act(self, request, object_id, "centre.add_capacity")

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
            facts=((_("In service today"), str(pool.gpus_today or 0)),),
            form=CapacityForm(request.POST or None),
            button=_("Change from that day on"),
            run=run,
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
            explanation=_("A price is never rewritten: it is followed by another from a later day on."),
            facts=((_("Price today"), hkd(pool.price_today, 2)),),
            form=PriceForm(request.POST or None),
            button=_("Set the price"),
            run=run,
            refusals=(machines.MachineError,),
        )


@admin.register(Outage)
class OutageAdmin(KeptAdmin[Outage]):
    list_display = ("reason", "pool", "gpus", "starts_at", "ends_at")
    list_select_related = ("pool",)
    list_filter = ("pool",)
    search_fields = ("reason", "pool__code")
    autocomplete_fields = ("pool",)
    fields = ("pool", "gpus", "starts_at", "ends_at", "reason")
