"""Decisions: read by all who work with cases, confirmed by a second person, taken back while they wait."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from allocations.posting import LedgerError
from centre.admin.acts import Effect, act_page, act_urls, row_of_act
from centre.admin.choosing import ReasonForm
from centre.admin.kept import ActLink, HistoryAdmin, HistoryInline
from centre.http import signed_in
from centre.members import MemberError
from centre.models import User
from centre.templatetags.portal import hkd, percent
from centre.tenants import TenantError
from subsidies import awards
from subsidies.admin.recording import exact_hours, facts_of, period
from subsidies.fund import FundError
from subsidies.life_cycle import AlreadyDecided, CaseError, State
from subsidies.models import Condition, Decision, DecisionGrant

CONFIRM = "subsidies.confirm_decision"
RECORD = "subsidies.record_decision"
REFUSALS = (CaseError, FundError, LedgerError, TenantError, MemberError)


class WaitingFilter(admin.SimpleListFilter):
    """Decisions that a second person has still to confirm."""

    title = _("confirmation")
    parameter_name = "confirmed"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [("no", _("Waiting")), ("yes", _("Confirmed"))]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        return queryset.filter(confirmed_at__isnull=self.value() == "no")


class ConditionsFilter(admin.SimpleListFilter):
    """Decisions with conditions that were due and are not cleared."""

    title = _("conditions")
    parameter_name = "conditions"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [("overdue", _("Overdue"))]

    def queryset(self, request: Any, queryset: Any) -> QuerySet[Any] | None:
        return queryset.filter(pk__in=overdue()) if self.value() == "overdue" else None


def overdue() -> QuerySet[Any]:
    return Decision.objects.with_overdue(on=timezone.localdate()).order_by().values("pk")


class GrantsOfDecision(HistoryInline[DecisionGrant]):
    model = DecisionGrant
    fk_name = "decision"
    fields = ("pool", "hours", "list_price")
    readonly_fields = ("hours", "list_price")
    related = ("pool",)
    show_change_link = False
    verbose_name_plural = _("GPU time")

    @admin.display(description=_("GPU-hours"))
    def hours(self, obj: DecisionGrant) -> str:
        return exact_hours(obj.gpu_seconds)

    @admin.display(description=_("list price per GPU-hour"))
    def list_price(self, obj: DecisionGrant) -> str:
        return hkd(obj.cents_per_gpu_hour, 2)


class ConditionsOfDecision(HistoryInline[Condition]):
    model = Condition
    fk_name = "decision"
    fields = ("text", "due_on", "evidence", "cleared_by", "cleared_at")
    related = ("cleared_by",)
    show_change_link = False
    verbose_name_plural = _("Conditions")


class SeenForm(forms.Form):
    """Which recording of the decision the person read; another one in its place is not confirmed by mistake."""

    seen = forms.CharField(widget=forms.HiddenInput())


@admin.register(Decision)
class DecisionAdmin(HistoryAdmin[Decision]):
    list_display = ("number", "title", "outcome", "rate", "amount", "recorder", "confirmer", "recorded_at")
    list_select_related = ("application", "recorded_by", "confirmed_by")
    list_filter = (WaitingFilter, ConditionsFilter, "outcome", "application__scheme")
    search_fields = ("application__number", "application__title", "application__tenant__name_en")
    search_help_text = _("By number or title of the application, or by tenant.")
    fields = (
        "application",
        "outcome",
        "rate",
        "exceptional_grounds",
        "amount",
        ("starts_on", "ends_on"),
        "account",
        "reason",
        "recorded_by",
        "recorded_at",
        "confirmed_by",
        "confirmed_at",
    )
    readonly_fields = ("rate", "amount")
    inlines = (GrantsOfDecision, ConditionsOfDecision)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Decision]:
        return (
            super()
            .get_queryset(request)
            .select_related(
                "application__tenant",
                "application__scheme",
                "application__project",
                "application__lead",
                "award",
                "recorded_by",
                "confirmed_by",
            )
        )

    def heading(self, obj: Decision) -> str:
        return f"{obj.application.number}: {obj.get_outcome_display()}"

    @admin.display(description=_("application"), ordering="application__number")
    def number(self, obj: Decision) -> str:
        return obj.application.number

    @admin.display(description=_("title"), ordering="application__title")
    def title(self, obj: Decision) -> str:
        return obj.application.title

    @admin.display(description=_("rate"), ordering="rate_bp")
    def rate(self, obj: Decision) -> str:
        return percent(obj.rate_bp) if obj.outcome == Decision.Outcome.APPROVED else "–"

    @admin.display(description=_("amount"), ordering="amount_cents")
    def amount(self, obj: Decision) -> str:
        return hkd(obj.amount_cents) if obj.outcome == Decision.Outcome.APPROVED else "–"

    @admin.display(description=_("recorded by"), ordering="recorded_by__name")
    def recorder(self, obj: Decision) -> str:
        return obj.recorded_by.get_full_name()

    @admin.display(description=_("confirmed by"), ordering="confirmed_by__name")
    def confirmer(self, obj: Decision) -> str:
        return obj.confirmed_by.get_full_name() if obj.confirmed_by else "–"

    def acts(self, request: HttpRequest, obj: Decision) -> list[ActLink]:
        links = [ActLink(_("The application"), f"../../../application/{obj.application_id}/change/")]
        if not obj.is_confirmed:
            if request.user.has_perm(CONFIRM):
                links.append(ActLink(_("Confirm"), "../confirm/"))
            if request.user.has_perm(RECORD):
                links.append(ActLink(_("Take back"), "../take-back/"))
        award = getattr(obj, "award", None)
        if award is not None:
            links.append(ActLink(_("The award"), f"../../../award/{award.pk}/change/"))
        return links

    def get_urls(self) -> list[URLPattern]:
        return [*act_urls(self, [("confirm", self.confirm), ("take-back", self.take_back)]), *super().get_urls()]

    def confirm(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What confirming does, and the button; another person than the one who recorded it."""
        row: Decision = row_of_act(self, request, object_id, CONFIRM)
        by = signed_in(request)

        def run(given: dict[str, Any]) -> tuple[str, Decision]:
            if given["seen"] != row.recorded_at.isoformat():
                raise AlreadyDecided(gettext("This decision was recorded anew in the meantime. Read it again."))
            awards.confirm_decision(decision=row, by=by, at=timezone.now())
            return gettext("The decision on %(number)s is confirmed.") % {"number": row.application.number}, row

        return act_page(
            request,
            admin=self,
            row=row,
            title=_("Confirm the decision"),
            explanation=explanation_of(row, by) if request.method == "GET" else "",
            facts=[*facts_of(row.application), *decided(row)],
            effects=effects_of(row),
            form=SeenForm(request.POST or None, initial={"seen": row.recorded_at.isoformat()}),
            button=_("Confirm the decision"),
            run=run,
            refusals=REFUSALS,
        )

    def take_back(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Strike a decision that waits for its confirmation, so that it can be recorded anew."""
        row: Decision = row_of_act(self, request, object_id, RECORD)

        def run(given: dict[str, Any]) -> tuple[str, Any]:
            application = awards.take_back_decision(
                decision=row, reason=given["reason"], by=signed_in(request), at=timezone.now()
            )
            return gettext("The decision on %(number)s is taken back.") % {"number": application.number}, application

        return act_page(
            request,
            admin=self,
            row=row,
            title=_("Take the decision back"),
            explanation=_("It can be recorded anew afterwards. What it said stays in the application's history."),
            facts=[*facts_of(row.application), *decided(row)],
            form=ReasonForm(request.POST or None),
            button=_("Take the decision back"),
            danger=True,
            run=run,
            refusals=REFUSALS,
        )


def explanation_of(decision: Decision, by: User) -> Any:
    """What the page says above the facts; to the person who recorded it, why they cannot go on."""
    if decision.recorded_by_id == by.pk:
        return _("You recorded this decision. Someone else has to confirm it.")
    if decision.application.recorded_by_id == by.pk:
        return _("You recorded this application. Someone else has to confirm the decision on it.")
    if decision.outcome == Decision.Outcome.NOT_APPROVED:
        return _("Confirming closes the application as not approved.")
    return _("Confirming commits the money and grants the GPU-hours at once. It cannot be undone.")


def decided(decision: Decision) -> list[tuple[Any, str]]:
    """What the decision says, as its confirmer reads it."""
    told: list[tuple[Any, str]] = [(_("Outcome"), decision.get_outcome_display())]
    if decision.outcome == Decision.Outcome.APPROVED:
        told += [
            (_("Rate"), percent(decision.rate_bp)),
            (_("Amount"), hkd(decision.amount_cents)),
            (_("Period"), period(decision.starts_on, decision.ends_on)),
        ]
        if decision.exceptional_grounds:
            told.append((_("Exceptional grounds"), decision.exceptional_grounds))
        told += [(_("Condition"), condition_text(condition)) for condition in decision.conditions.all()]
    return [*told, (_("Reason"), decision.reason), (_("Recorded by"), str(decision.recorded_by))]


def condition_text(condition: Condition) -> str:
    if condition.due_on is None:
        return condition.text
    return gettext("%(condition)s (due on %(day)s)") % {
        "condition": condition.text,
        "day": date_format(condition.due_on, "DATE_FORMAT"),
    }


def effects_of(decision: Decision) -> list[Effect]:
    """What confirming changes: state, envelope, project, hours."""
    application = decision.application
    if decision.outcome == Decision.Outcome.NOT_APPROVED:
        return [Effect(_("State"), application.get_state_display(), State.NOT_APPROVED.label)]
    scheme = application.scheme
    effects = [
        Effect(_("State"), application.get_state_display(), State.ACCEPTED.label),
        Effect(_("Left in the envelope"), hkd(scheme.left_cents), hkd(scheme.left_cents - decision.amount_cents)),
        Effect(
            _("Committed by the scheme"),
            hkd(scheme.committed_cents),
            hkd(scheme.committed_cents + decision.amount_cents),
        ),
    ]
    if application.project is None:
        effects.append(Effect(_("Project"), "–", application.new_project_code))
    effects += [
        Effect(
            _("GPU-hours on %(pool)s") % {"pool": grant.pool},
            "–",
            f"{exact_hours(grant.gpu_seconds)} ({period(decision.starts_on, decision.ends_on)})",
        )
        for grant in decision.grants.select_related("pool")
    ]
    return effects
