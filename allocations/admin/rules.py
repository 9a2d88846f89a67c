"""Rules about unused GPU time: one officer asks, another sees what would change and approves or refuses."""

from typing import Any, TypeVar

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from allocations import rules
from allocations.models import Allocation, PeriodEndRule, TakeBackRule
from allocations.models.rules import PoolRule
from allocations.panels import rule_in_words
from centre.admin.acts import Effect, act_page, act_urls, row_of_act
from centre.admin.choosing import ReasonForm, chosen, day
from centre.admin.kept import ActLink, HistoryAdmin
from centre.forms import PercentField
from centre.http import signed_in
from centre.templatetags.portal import percent, written_instant

Rule = TypeVar("Rule", bound=PoolRule)
MAY_DECIDE = "allocations.change_allocation"
REFUSALS = (rules.RuleError,)
TAKE_BACK_TERMS = ("funding", "check_at_bp", "under_bp", "warn_days")
PERIOD_END_TERMS = ("carry_over", "most_bp", "wait_days")
BEHIND_IT = (
    *("reason", "asked_by", "asked_at", "approved_by", "approved_at", "refused_by", "refused_at", "answer"),
    *("standing",),
)


class PeriodEndForm(ReasonForm):
    """What becomes of unused hours of a pool from which day on."""

    pool = chosen(PeriodEndRule, "pool")
    from_on = day(
        label=_("Counts from"),
        help_text=_(
            "It closes the allocations whose last day is this one or later. The first rule of a pool may begin earlier."
        ),
    )
    carry_over = forms.ChoiceField(label=_("Carry-over"), choices=PeriodEndRule.CarryOver.choices)
    most_bp = PercentField(
        # xgettext:no-python-format
        label=_("At most (% of what was granted)"),
        initial=0,
        help_text=_("Leave it at 0 unless a share is meant."),
    )
    wait_days = forms.IntegerField(
        label=_("Days to wait for a following allocation"),
        min_value=0,
        max_value=3_650,
        initial=30,
        help_text=_("After that, what is left is forfeited to the pool’s reserve."),
    )
    field_order = ("pool", "from_on", "carry_over", "most_bp", "wait_days", "reason")


class TakeBackForm(ReasonForm):
    """When unused hours of a pool are taken back in mid-period."""

    pool = chosen(TakeBackRule, "pool")
    funding = forms.ChoiceField(label=_("Funding"), choices=Allocation.Funding.choices)
    from_on = day(label=_("Counts from"))
    check_at_bp = PercentField(
        # xgettext:no-python-format
        label=_("Check at (% of the period)"),
        initial=5_000,
        # xgettext:no-python-format
        help_text=_("50 % is half time."),
    )
    under_bp = PercentField(
        # xgettext:no-python-format
        label=_("Under (% of planned use)"),
        initial=4_000,
        help_text=_("Planned use is what an even pace would have used by then."),
    )
    warn_days = forms.IntegerField(
        label=_("Days from the warning to the act"), min_value=1, max_value=3_650, initial=14
    )
    field_order = ("pool", "funding", "from_on", "check_at_bp", "under_bp", "warn_days", "reason")


class RefusalForm(forms.Form):
    answer = forms.CharField(
        label=_("Answer"),
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 60, "class": "vLargeTextField"}),
        help_text=_("Why not. It stays on record with the rule."),
    )


class DecidedFilter(admin.SimpleListFilter):
    title = _("standing")
    parameter_name = "standing"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [("waiting", _("Waiting for approval")), ("approved", _("Approved")), ("refused", _("Refused"))]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = {
            "waiting": Q(approved_at=None, refused_at=None),
            "approved": Q(approved_at__isnull=False),
            "refused": Q(refused_at__isnull=False),
        }
        return queryset.filter(wanted.get(self.value() or "", Q()))


class RuleAdmin(HistoryAdmin[Rule]):
    """What both kinds of rule share: asked for on one page, answered on another, never edited."""

    terms: tuple[str, ...] = ()
    asking_form: type[forms.Form] = ReasonForm
    asking_title: Any = ""
    asking_explanation: Any = ""
    list_select_related = ("pool", "asked_by", "approved_by")
    list_filter = (DecidedFilter, "pool")
    search_fields = ("pool__code", "asked_by__email", "asked_by__name")
    search_help_text = _("By GPU pool, or the person who asked.")
    ordering = ("-id",)

    def heading(self, obj: Rule) -> str:
        return f"{obj.pool.code}: {obj}"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Rule]:
        return super().get_queryset(request).select_related("pool__cluster", "asked_by", "approved_by", "refused_by")

    @admin.display(description=_("asked for by"), ordering="asked_by__name")
    def asker(self, obj: Rule) -> str:
        return obj.asked_by.get_full_name()

    @admin.display(description=_("approved by"), ordering="approved_by__name")
    def approver(self, obj: Rule) -> str:
        return obj.approved_by.get_full_name() if obj.approved_by else "–"

    @admin.display(description=_("standing"))
    def standing(self, obj: Rule) -> str:
        if obj.refused_at:
            return gettext("Refused")
        return gettext("Waiting for approval") if obj.approved_at is None else gettext("Approved")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(MAY_DECIDE)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Ask for a rule; it counts once another officer approves it."""
        if not self.has_add_permission(request):
            raise PermissionDenied

        def run(given: dict[str, Any]) -> tuple[str, Rule]:
            asked: Rule = rules.ask_rule(rule=self.model(**given), by=signed_in(request), at=timezone.now())
            return gettext("The rule waits for another officer’s approval."), asked

        return act_page(
            request,
            admin=self,
            row=None,
            title=self.asking_title,
            explanation=self.asking_explanation,
            form=self.asking_form(request.POST or None),
            button=_("Ask for approval"),
            run=run,
            refusals=REFUSALS,
        )

    def acts(self, request: HttpRequest, obj: Rule) -> list[ActLink]:
        if not obj.is_waiting or not request.user.has_perm(MAY_DECIDE):
            return []
        if obj.asked_by_id == request.user.pk:
            return [ActLink(_("Withdraw"), "../refuse/")]
        return [ActLink(_("Approve"), "../approve/"), ActLink(_("Refuse"), "../refuse/")]

    def get_urls(self) -> list[URLPattern]:
        return [*act_urls(self, [("approve", self.approve), ("refuse", self.refuse)]), *super().get_urls()]

    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Terms now in force beside the terms of this rule, then it counts."""
        row: Rule = row_of_act(self, request, object_id, MAY_DECIDE)

        def run(given: dict[str, Any]) -> tuple[str, Rule]:
            rules.approve_rule(rule=row, by=signed_in(request), at=timezone.now())
            return gettext("The rule counts for %(pool)s from %(day)s on.") % {
                "pool": row.pool.code,
                "day": date_format(row.from_on),
            }, row

        return act_page(
            request,
            admin=self,
            row=row,
            title=_("Approve the rule"),
            explanation=_(
                "An approved rule is never changed; a later rule takes its place. What it does carries both names."
            ),
            facts=self.facts(row),
            effects=self.effects(row),
            button=_("Approve"),
            run=run,
            refusals=REFUSALS,
        )

    def refuse(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row: Rule = row_of_act(self, request, object_id, MAY_DECIDE)
        is_own = row.asked_by_id == request.user.pk

        def run(given: dict[str, Any]) -> tuple[str, Rule]:
            rules.refuse_rule(rule=row, by=signed_in(request), at=timezone.now(), **given)
            return gettext("The rule was withdrawn.") if is_own else gettext("The rule was refused."), row

        return act_page(
            request,
            admin=self,
            row=row,
            title=_("Withdraw the rule") if is_own else _("Refuse the rule"),
            explanation=_(
                "This rule does not come to count; what counts today goes on. It stays on record together with your "
                "answer, and another rule can be asked for."
            ),
            facts=self.facts(row),
            form=RefusalForm(request.POST or None),
            button=_("Withdraw") if is_own else _("Refuse"),
            danger=True,
            run=run,
            refusals=REFUSALS,
        )

    def facts(self, row: Rule) -> list[tuple[Any, str]]:
        """Who asked, and why."""
        return [
            (_("GPU pool"), str(row.pool)),
            (_("Counts from"), date_format(row.from_on)),
            (_("Asked for by"), f"{row.asked_by}, {written_instant(row.asked_at)}"),
            (_("Reason"), row.reason),
        ]

    def effects(self, row: Rule) -> list[Effect]:
        """Each term: by the rule that counts until this one does, and by this one."""
        until_now = rules.rule_in_force(row, on=row.from_on)
        return [
            Effect(
                LABELS[term],
                told(until_now, term) if until_now is not None else _("no rule"),
                told(row, term),
            )
            for term in self.terms
            if term != "funding"
        ]


LABELS: dict[str, Any] = {
    "carry_over": _("Carry-over"),
    "wait_days": _("Days to wait for a following allocation"),
    "warn_days": _("Days from the warning to the act"),
    # xgettext:no-python-format
    "most_bp": _("At most (% of what was granted)"),
    # xgettext:no-python-format
    "check_at_bp": _("Check at (% of the period)"),
    # xgettext:no-python-format
    "under_bp": _("Under (% of planned use)"),
}


def told(rule: Rule, term: str) -> str:
    """A term of a rule as a person reads it."""
    value = getattr(rule, term)
    if term.endswith("_bp"):
        return percent(value) if value else "–"
    if term.endswith("_days"):
        return ngettext("%(count)s day", "%(count)s days", value) % {"count": value}
    return str(getattr(rule, f"get_{term}_display")())


@admin.register(PeriodEndRule)
class PeriodEndRuleAdmin(RuleAdmin[PeriodEndRule]):
    terms = PERIOD_END_TERMS
    asking_form = PeriodEndForm
    asking_title = _("Ask for a period-end rule")
    asking_explanation = _(
        "The rule says what becomes of GPU-hours that are left when an allocation ends. "
        "It counts once another officer has approved it."
    )
    list_display = ("pool", "from_on", "what", "wait_days", "standing", "asker", "approver")
    fields = ("pool", "from_on", "carry_over", "at_most", "wait_days", *BEHIND_IT)
    readonly_fields = ("standing", "at_most")

    def heading(self, obj: PeriodEndRule) -> str:
        return f"{obj.pool.code}: {rule_in_words(obj)}"

    @admin.display(description=_("carry-over"), ordering="carry_over")
    def what(self, obj: PeriodEndRule) -> str:
        return rule_in_words(obj)

    @admin.display(description=_("at most (of what was granted)"), ordering="most_bp")
    def at_most(self, obj: PeriodEndRule) -> str:
        return told(obj, "most_bp")


@admin.register(TakeBackRule)
class TakeBackRuleAdmin(RuleAdmin[TakeBackRule]):
    terms = TAKE_BACK_TERMS
    asking_form = TakeBackForm
    asking_title = _("Ask for a take-back rule")
    asking_explanation = _(
        "The rule says when unused GPU-hours are taken back in mid-period: people are warned first. "
        "It counts once another officer has approved it."
    )
    list_display = (
        *("pool", "funding", "from_on", "check_at", "under", "warn_days", "standing"),
        *("asker", "approver"),
    )
    fields = ("pool", "funding", "from_on", "check_at", "under", "warn_days", *BEHIND_IT)
    readonly_fields = ("standing", "check_at", "under")

    @admin.display(description=_("check at (of the period)"), ordering="check_at_bp")
    def check_at(self, obj: TakeBackRule) -> str:
        return told(obj, "check_at_bp")

    @admin.display(description=_("under (of planned use)"), ordering="under_bp")
    def under(self, obj: TakeBackRule) -> str:
        return told(obj, "under_bp")
