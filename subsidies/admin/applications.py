"""Applications: recorded by staff, mended while they wait, decided by acts; the state is never set by hand."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery, Sum
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from centre.admin.acts import Effect, act_page, act_urls, row_of_act
from centre.admin.choosing import ReasonForm
from centre.admin.kept import ActLink, HistoryAdmin, HistoryInline
from centre.http import signed_in
from centre.models import GpuPool
from centre.templatetags.portal import gpu_hours
from subsidies import applications
from subsidies.admin.recording import exact_hours, record_decision_page, refuse_page
from subsidies.forms import ApplicationForm
from subsidies.life_cycle import CaseError, State
from subsidies.models import Application, ApplicationAsk, ApplicationStep, Scheme

CHANGE = "subsidies.change_application"
DECIDE = "subsidies.record_decision"


class AsksOfApplication(HistoryInline[ApplicationAsk]):
    model = ApplicationAsk
    fk_name = "application"
    fields = ("pool", "hours")
    readonly_fields = ("hours",)
    related = ("pool",)
    show_change_link = False
    verbose_name_plural = _("GPU time asked for")

    @admin.display(description=_("GPU-hours"))
    def hours(self, obj: ApplicationAsk) -> str:
        return exact_hours(obj.gpu_seconds)


class StepsOfApplication(HistoryInline[ApplicationStep]):
    model = ApplicationStep
    fk_name = "application"
    fields = ("from_state", "to_state", "at", "by", "reason")
    related = ("by",)
    show_change_link = False
    verbose_name_plural = _("Steps")


@admin.register(Application)
class ApplicationAdmin(HistoryAdmin[Application]):
    list_display = ("number", "tenant_name", "title", "state", "asked", "received_on")
    list_select_related = ("tenant",)
    list_filter = ("state", "tenant__category", "scheme")
    search_fields = (
        "number",
        "title",
        "tenant__code",
        "tenant__name_en",
        "tenant__name_zh_hant",
        "tenant__name_zh_hans",
        "project__code",
        "new_project_code",
    )
    search_help_text = _("By number, title, tenant or code of the project.")
    fields = (
        "number",
        "scheme",
        "tenant",
        "title",
        "summary",
        "state",
        "public_name",
        "project",
        "new_project_code",
        "lead",
        "received_on",
        ("starts_on", "ends_on"),
        "recorded_by",
        "recorded_at",
    )
    readonly_fields = ("public_name",)
    inlines = (AsksOfApplication, StepsOfApplication)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("subsidies.add_application")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Application]:
        asked = ApplicationAsk.objects.filter(application=OuterRef("pk")).order_by().values("application")
        return (
            Application.objects.visible_to(signed_in(request))
            .select_related("tenant", "scheme", "project", "lead", "recorded_by", "decision__award")
            .annotate(asked_seconds=Subquery(asked.annotate(sum=Sum("gpu_seconds")).values("sum")))
        )

    @admin.display(description=_("tenant"), ordering="tenant__code")
    def tenant_name(self, obj: Application) -> str:
        return obj.tenant.name

    @admin.display(description=_("asked GPU-hours"), ordering="asked_seconds")
    def asked(self, obj: Any) -> str:
        return gpu_hours(obj.asked_seconds)

    @admin.display(description=_("what the applicant reads"))
    def public_name(self, obj: Application) -> str:
        return str(obj.public_state)

    def acts(self, request: HttpRequest, obj: Application) -> list[ActLink]:
        decision = getattr(obj, "decision", None)
        links = []
        if decision is not None:
            links.append(ActLink(_("The decision"), f"../../../decision/{decision.pk}/change/"))
        elif obj.is_undecided:
            if request.user.has_perm(DECIDE):
                links += [ActLink(_("Record an approval"), "../decide/"), ActLink(_("Record a refusal"), "../refuse/")]
            if request.user.has_perm(CHANGE):
                links += [ActLink(_("Mend"), "../mend/"), ActLink(_("Withdraw"), "../withdraw/")]
                if obj.state in {State.SUBMITTED, State.SCREENING}:
                    links.append(ActLink(_("Mark ineligible"), "../ineligible/"))
        award = getattr(decision, "award", None)
        if award is not None:
            links.append(ActLink(_("The award"), f"../../../award/{award.pk}/change/"))
        return links

    def get_urls(self) -> list[URLPattern]:
        acts = [
            ("decide", self.decide),
            ("refuse", self.refuse),
            ("mend", self.mend),
            ("withdraw", self.withdraw),
            ("ineligible", self.ineligible),
        ]
        return [*act_urls(self, acts), *super().get_urls()]

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Record an application that came in."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        scheme = Scheme.objects.current()
        form = ApplicationForm(
            request.POST or None,
            pools=GpuPool.objects.all(),
            hours={},
            initial={"received_on": timezone.localdate()},
        )

        def run(given: dict[str, Any]) -> tuple[str, Application]:
            if scheme is None:
                raise CaseError(gettext("No scheme runs today, so no application can be recorded. Add a scheme first."))
            recorded = applications.record_application(
                scheme=scheme, asks=form.seconds(), by=signed_in(request), at=timezone.now(), **form.described()
            )
            return gettext("Application %(number)s is recorded.") % {"number": recorded.number}, recorded

        return act_page(
            request,
            admin=self,
            row=None,
            title=_("Record an application"),
            explanation=_("The scheme: %(scheme)s. The number is given when you save.") % {"scheme": scheme or "–"},
            form=form,
            button=_("Record the application"),
            run=run,
            refusals=(CaseError,),
        )

    def mend(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Write anew what was recorded wrongly."""
        row: Application = row_of_act(self, request, object_id, CHANGE)
        form = ApplicationForm(
            request.POST or None,
            pools=GpuPool.objects.all(),
            hours={ask.pool: ask.gpu_seconds for ask in row.asks.select_related("pool")},
            initial={name: getattr(row, name) for name in ApplicationForm.FIELDS},
        )

        @transaction.atomic
        def run(given: dict[str, Any]) -> tuple[str, Application]:
            by, at = signed_in(request), timezone.now()
            applications.change_application(application=row, by=by, at=at, **form.described())
            applications.change_asks(application=row, asks=form.seconds(), by=by, at=at)
            return gettext("Application %(number)s is mended.") % {"number": row.number}, row

        return act_page(
            request,
            admin=self,
            row=row,
            title=_("Mend the application"),
            explanation=_("What it was before stays in the history."),
            form=form,
            button=_("Save"),
            run=run,
            refusals=(CaseError,),
        )

    def decide(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return record_decision_page(request, self, row_of_act(self, request, object_id, DECIDE))

    def refuse(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return refuse_page(request, self, row_of_act(self, request, object_id, DECIDE))

    def withdraw(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row: Application = row_of_act(self, request, object_id, CHANGE)

        def run(given: dict[str, Any]) -> tuple[str, Application]:
            applications.withdraw(application=row, reason=given["reason"], by=signed_in(request), at=timezone.now())
            return gettext("Application %(number)s is withdrawn.") % {"number": row.number}, row

        return act_page(
            request,
            admin=self,
            row=row,
            title=_("Withdraw the application"),
            explanation=_("Say how the tenant let you know. This cannot be undone."),
            effects=(Effect(_("State"), row.get_state_display(), State.WITHDRAWN.label),),
            form=ReasonForm(request.POST or None),
            button=_("Withdraw the application"),
            danger=True,
            run=run,
            refusals=(CaseError,),
        )

    def ineligible(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row: Application = row_of_act(self, request, object_id, CHANGE)

        def run(given: dict[str, Any]) -> tuple[str, Application]:
            applications.mark_ineligible(
                application=row, reason=given["reason"], by=signed_in(request), at=timezone.now()
            )
            return gettext("Application %(number)s is marked ineligible.") % {"number": row.number}, row

        return act_page(
            request,
            admin=self,
            row=row,
            title=_("Mark the application ineligible"),
            explanation=_("Say which rule of the scheme it does not meet. This cannot be undone."),
            effects=(Effect(_("State"), row.get_state_display(), State.INELIGIBLE.label),),
            form=ReasonForm(request.POST or None),
            button=_("Mark ineligible"),
            danger=True,
            run=run,
            refusals=(CaseError,),
        )
