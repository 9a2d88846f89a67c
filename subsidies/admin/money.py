"""The scheme and its fund, the awards, and where the funded projects stand: to read, except for the scheme's terms."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from centre.admin.kept import ActLink, HistoryAdmin, HistoryInline, KeptAdmin
from centre.http import signed_in
from centre.models import Project
from centre.permissions import sees_every_project
from centre.templatetags.portal import gpu_hours, hkd, percent
from subsidies.forms import SchemeForm
from subsidies.models import Award, AwardGrant, FundEntry, Scheme, SubsidyProject
from subsidies.views import subsidy_url


def page_of_team(request: HttpRequest, project: Project) -> list[ActLink]:
    """Where the team sees its subsidy, for those who see every team's pages."""
    if not sees_every_project(signed_in(request).staff_roles):
        return []
    return [ActLink(_("The team’s page"), subsidy_url(project))]


@admin.register(Scheme)
class SchemeAdmin(KeptAdmin[Scheme]):
    form = SchemeForm
    list_display = ("code", "name", "starts_on", "ends_on", "envelope", "reserved", "committed", "left")
    search_fields = ("code", "name_en", "name_zh_hant", "name_zh_hans")
    fieldsets = (
        (None, {"fields": ("code", "name_en", "name_zh_hant", "name_zh_hans")}),
        (_("Period"), {"fields": ("starts_on", "ends_on")}),
        (
            _("Terms"),
            {"fields": ("envelope_cents", "default_rate_bp", "ordinary_ceiling_bp", "exceptional_ceiling_bp")},
        ),
        (
            _("How to apply, as the front page says it"),
            {"fields": ("how_to_apply_en", "how_to_apply_zh_hant", "how_to_apply_zh_hans")},
        ),
        (_("The fund today"), {"fields": ("reserved", "committed", "drawn", "released", "clawed_back", "left")}),
    )
    readonly_fields = ("reserved", "committed", "drawn", "released", "clawed_back", "left")

    def get_fieldsets(self, request: HttpRequest, obj: Scheme | None = None) -> Any:
        """A scheme that is being added has no fund yet; to those who only read, money and rates are shown as such."""
        if obj is None:
            return self.fieldsets[:-1]
        if not self.has_change_permission(request, obj):
            read = {"fields": ("envelope", "usual_rate", "ordinary_ceiling", "exceptional_ceiling")}
            return (*self.fieldsets[:2], (_("Terms"), read), *self.fieldsets[3:])
        return self.fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Scheme | None = None) -> tuple[str, ...]:
        if obj is None:
            return self.readonly_fields
        read = ("envelope", "usual_rate", "ordinary_ceiling", "exceptional_ceiling")
        return (*self.readonly_fields, "code", *(() if self.has_change_permission(request, obj) else read))

    @admin.display(description=_("name"), ordering="name_en")
    def name(self, obj: Scheme) -> str:
        return obj.name

    @admin.display(description=_("envelope"), ordering="envelope_cents")
    def envelope(self, obj: Scheme) -> str:
        return hkd(obj.envelope_cents)

    @admin.display(description=_("usual rate"))
    def usual_rate(self, obj: Scheme) -> str:
        return percent(obj.default_rate_bp)

    @admin.display(description=_("ordinary ceiling"))
    def ordinary_ceiling(self, obj: Scheme) -> str:
        return percent(obj.ordinary_ceiling_bp)

    @admin.display(description=_("exceptional ceiling"))
    def exceptional_ceiling(self, obj: Scheme) -> str:
        return percent(obj.exceptional_ceiling_bp)

    @admin.display(description=_("reserved"), ordering="reserved_cents")
    def reserved(self, obj: Scheme) -> str:
        return hkd(obj.reserved_cents)

    @admin.display(description=_("committed"), ordering="committed_cents")
    def committed(self, obj: Scheme) -> str:
        return hkd(obj.committed_cents)

    @admin.display(description=_("drawn, as posted to the fund"))
    def drawn(self, obj: Scheme) -> str:
        return hkd(obj.drawn_cents)

    @admin.display(description=_("released"))
    def released(self, obj: Scheme) -> str:
        return hkd(obj.released_cents)

    @admin.display(description=_("clawed back"))
    def clawed_back(self, obj: Scheme) -> str:
        return hkd(obj.clawed_back_cents)

    @admin.display(description=_("left"))
    def left(self, obj: Scheme) -> str:
        return hkd(obj.left_cents)


@admin.register(FundEntry)
class FundEntryAdmin(HistoryAdmin[FundEntry]):
    list_display = ("id", "kind", "amount", "application_number", "award", "effective_on", "asked", "approved")
    list_select_related = ("application", "award", "asked_by", "approved_by")
    list_filter = ("kind", "scheme")
    search_fields = ("application__number", "award__number", "key", "reason")
    search_help_text = _("By number of the application or award, by key or reason.")
    fields = (
        "scheme",
        "kind",
        "amount",
        "application",
        "award",
        "effective_on",
        "recorded_at",
        "asked_by",
        "approved_by",
        "reason",
        "key",
    )
    readonly_fields = ("amount",)

    @admin.display(description=_("amount"), ordering="cents")
    def amount(self, obj: FundEntry) -> str:
        return hkd(obj.cents)

    @admin.display(description=_("asked for by"), ordering="asked_by__name")
    def asked(self, obj: FundEntry) -> str:
        return obj.asked_by.get_full_name() if obj.asked_by else "–"

    @admin.display(description=_("approved by"), ordering="approved_by__name")
    def approved(self, obj: FundEntry) -> str:
        return obj.approved_by.get_full_name() if obj.approved_by else "–"

    @admin.display(description=_("application"), ordering="application__number")
    def application_number(self, obj: FundEntry) -> str:
        return obj.application.number


class GrantsOfAward(HistoryInline[AwardGrant]):
    model = AwardGrant
    fk_name = "award"
    fields = ("allocation", "pool", "hours", "entry_number")
    readonly_fields = ("pool", "hours", "entry_number")
    related = ("allocation__pool",)
    show_change_link = False
    verbose_name_plural = _("GPU time granted")

    @admin.display(description=_("GPU pool"))
    def pool(self, obj: AwardGrant) -> str:
        return str(obj.allocation.pool)

    @admin.display(description=_("GPU-hours"))
    def hours(self, obj: AwardGrant) -> str:
        return gpu_hours(obj.gpu_seconds)

    @admin.display(description=_("ledger entry"))
    def entry_number(self, obj: AwardGrant) -> int:
        return obj.entry_id


class FundEntriesOfAward(HistoryInline[FundEntry]):
    model = FundEntry
    fk_name = "award"
    fields = ("kind", "amount", "effective_on", "asked_by", "approved_by")
    readonly_fields = ("amount",)
    related = ("asked_by", "approved_by")
    verbose_name_plural = _("Movements of the fund")

    @admin.display(description=_("amount"))
    def amount(self, obj: FundEntry) -> str:
        return hkd(obj.cents)


@admin.register(Award)
class AwardAdmin(HistoryAdmin[Award]):
    list_display = ("number", "project_code", "tenant", "rate", "amount", "starts_on", "ends_on", "standing")
    list_select_related = ("project__tenant", "subsidy_project")
    list_filter = ("subsidy_project__standing", "project__tenant__category", "application__scheme")
    search_fields = ("number", "application__title", "project__code", "project__title", "project__tenant__name_en")
    search_help_text = _("By number, title, project or tenant.")
    fields = (
        "number",
        "application",
        "project",
        "tenant",
        "standing",
        "rate",
        "amount",
        ("starts_on", "ends_on"),
        "committed",
        "drawn",
        "released",
        "clawed_back",
        "created_at",
    )
    readonly_fields = ("tenant", "standing", "rate", "amount", "committed", "drawn", "released", "clawed_back")
    inlines = (GrantsOfAward, FundEntriesOfAward)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Award]:
        return super().get_queryset(request).select_related("application", "project__tenant", "subsidy_project")

    def acts(self, request: HttpRequest, obj: Award) -> list[ActLink]:
        links = [ActLink(_("The decision"), f"../../../decision/{obj.decision_id}/change/")]
        return [*links, *page_of_team(request, obj.project)]

    @admin.display(description=_("project"), ordering="project__code")
    def project_code(self, obj: Award) -> str:
        return obj.project.code

    @admin.display(description=_("tenant"), ordering="project__tenant__code")
    def tenant(self, obj: Award) -> str:
        return obj.project.tenant.name

    @admin.display(description=_("standing"), ordering="subsidy_project__standing")
    def standing(self, obj: Award) -> str:
        return str(obj.subsidy_project)

    @admin.display(description=_("rate"), ordering="rate_bp")
    def rate(self, obj: Award) -> str:
        return percent(obj.rate_bp)

    @admin.display(description=_("amount"), ordering="amount_cents")
    def amount(self, obj: Award) -> str:
        return hkd(obj.amount_cents)

    @admin.display(description=_("committed"))
    def committed(self, obj: Award) -> str:
        return hkd(obj.committed_cents)

    @admin.display(description=_("drawn, as posted to the fund"))
    def drawn(self, obj: Award) -> str:
        return hkd(obj.drawn_cents)

    @admin.display(description=_("released"))
    def released(self, obj: Award) -> str:
        return hkd(obj.released_cents)

    @admin.display(description=_("clawed back"))
    def clawed_back(self, obj: Award) -> str:
        return hkd(obj.clawed_back_cents)


@admin.register(SubsidyProject)
class SubsidyProjectAdmin(HistoryAdmin[SubsidyProject]):
    list_display = ("project_code", "title", "tenant", "standing", "award", "amount", "ends_on")
    list_select_related = ("project__tenant", "award")
    list_filter = ("standing", "project__tenant__category")
    search_fields = ("project__code", "project__title", "award__number", "project__tenant__name_en")
    search_help_text = _("By project, tenant or number of the award.")
    fields = ("project", "title", "tenant", "standing", "award", "amount", "ends_on")
    readonly_fields = ("title", "tenant", "amount", "ends_on")

    def acts(self, request: HttpRequest, obj: SubsidyProject) -> list[ActLink]:
        return page_of_team(request, obj.project)

    def get_queryset(self, request: HttpRequest) -> QuerySet[SubsidyProject]:
        return super().get_queryset(request).select_related("project__tenant", "award")

    @admin.display(description=_("project"), ordering="project__code")
    def project_code(self, obj: SubsidyProject) -> str:
        return obj.project.code

    @admin.display(description=_("title"), ordering="project__title")
    def title(self, obj: SubsidyProject) -> str:
        return obj.project.title

    @admin.display(description=_("tenant"), ordering="project__tenant__code")
    def tenant(self, obj: SubsidyProject) -> str:
        return obj.project.tenant.name

    @admin.display(description=_("amount"), ordering="award__amount_cents")
    def amount(self, obj: SubsidyProject) -> str:
        return hkd(obj.award.amount_cents)

    @admin.display(description=_("last day"), ordering="award__ends_on")
    def ends_on(self, obj: SubsidyProject) -> Any:
        return obj.award.ends_on
