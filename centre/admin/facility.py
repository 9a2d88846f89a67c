"""Sites, clusters and the one row of the centre."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from centre import machines
from centre.admin.kept import HistoryInline, KeptAdmin
from centre.models import Centre, Cluster, GpuPool, Site, User
from centre.templatetags.portal import gpu_hours


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
