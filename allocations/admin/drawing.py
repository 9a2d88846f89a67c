"""Further Slurm accounts: let one draw on an allocation, read them, withdraw one; the effect is shown before."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet, Sum
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from allocations import drawing
from allocations.admin.movements import AllocationsField
from allocations.admin.proposing import MAY_ACT, REFUSALS, balance_of, facts_of, text_field
from allocations.admin.unmatched import unmatched_page, users_of
from allocations.models import Allocation, DrawingAccount, RunCharge
from allocations.unmatched import lines_of, would_be_charged
from centre.admin.acts import Confirmation, Effect, act_page, act_urls, row_of_act
from centre.admin.choosing import ReasonForm, chosen, day, prefilled
from centre.admin.confirming import exact_hours
from centre.admin.kept import ActLink, HistoryAdmin, HistoryInline, KeptAdmin
from centre.http import signed_in
from centre.models import GpuPool, User
from centre.row_numbers import is_row_number
from centre.templatetags.portal import grouped


class DrawForm(forms.Form):
    """Which further account, on which days, and why."""

    account = forms.CharField(
        label=_("Slurm account"), max_length=128, help_text=_("Whose job runs are charged to the allocation as well.")
    )
    from_on = day(label=_("First day"))
    until_on = day(
        label=_("Last day"),
        required=False,
        help_text=_("Both days are included. Leave it empty to go on until the allocation ends."),
    )
    reason = text_field(_("Reason"), help_text=_("Kept with the account; the auditor reads it."))


class DrawOnForm(DrawForm):
    """The same, where the allocation is chosen, too: among those of a pool, or by a search among all."""

    allocation: Any = chosen(DrawingAccount, "allocation")
    field_order = ("account", "allocation", "from_on", "until_on", "reason")

    def __init__(self, *args: Any, pool: GpuPool | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        if pool is not None:
            rows = Allocation.objects.not_void().filter(pool=pool).select_related("project")
            self.fields["allocation"] = AllocationsField(
                label=_("Allocation"),
                queryset=rows.order_by("-end_on", "project__code", "reference"),
                empty_label=_("Choose an allocation"),
                help_text=_("Allocations of the GPU pool %(pool)s.") % {"pool": pool.code},
            )
            self.order_fields(self.field_order)


def described(given: dict[str, Any], allocation: Allocation, by: User) -> DrawingAccount:
    """The row that the form describes, not saved."""
    return DrawingAccount(
        allocation=allocation,
        pool=allocation.pool,
        account=given["account"],
        from_on=given["from_on"],
        until_on=given["until_on"] or allocation.end_on,
        reason=given["reason"],
        made_by=by,
        made_at=timezone.now(),
    )


def effects_of_charging(allocation: Allocation, account: str, seconds: int, waiting: int) -> list[Effect]:
    """What becomes of the figures when `seconds` more of an account are charged (below zero: given back)."""
    figures = [
        (_("%(account)s without an allocation, on these days (GPU-hours)") % {"account": account}, waiting, -seconds),
        (_("Used of %(reference)s (GPU-hours)") % {"reference": allocation}, allocation.used_seconds, seconds),
    ]
    if allocation.state != Allocation.State.CLOSED:  # else what is left of it is worked out anew
        label = _("Left of %(reference)s (GPU-hours)") % {"reference": allocation}
        figures.append((label, allocation.available_seconds, -seconds))
    alike = [figure for _label, now, by in figures for figure in (now, now + by)]
    return [Effect(label, exact_hours(now, *alike), exact_hours(now + by, *alike)) for label, now, by in figures]


def what_happens(row: DrawingAccount, runs: int, seconds: int) -> str:
    """What happens when it is confirmed, in sentences."""
    said = {"runs": grouped(runs, 0), "account": row.account, "reference": row.allocation.reference}
    sentences = [
        ngettext(
            "%(runs)s job run that waits is charged at once.", "%(runs)s job runs that wait are charged at once.", runs
        )
        % said
        if runs
        else gettext("No job run waits on these days.") % said,
        gettext("What %(account)s still uses on these days is charged to %(reference)s as well.") % said,
    ]
    if row.allocation.state == Allocation.State.CLOSED:
        sentences.append(
            gettext("%(reference)s is closed: what was forfeited or carried over at its end is worked out anew.") % said
        )
    elif seconds > row.allocation.available_seconds:
        sentences.append(gettext("%(reference)s will be overdrawn.") % said)
    return " ".join(sentences)


def let_draw_page(
    request: HttpRequest,
    page: KeptAdmin[Any],
    *,
    form: forms.Form,
    allocation: Allocation | None = None,
    facts: Sequence[tuple[Any, str]] = (),
    leads_to: str = "",
) -> HttpResponse:
    """Let an account draw on `allocation`, or on the one that the form names; `leads_to` an address afterwards."""
    by = signed_in(request)

    def confirm(given: dict[str, Any]) -> Confirmation | None:
        chosen_one = allocation or given["allocation"]
        row = described(given, chosen_one, by)
        if drawing.standing_as(row) is not None:
            return None  # sent before: what became of it is told
        drawing.refuse_drawing(row)
        runs, seconds = would_be_charged(pool=row.pool, account=row.account, first=row.from_on, last=row.until_on)
        return Confirmation(
            headline=gettext("Let %(account)s draw on %(reference)s from %(first)s to %(last)s")
            % {
                "account": row.account,
                "reference": chosen_one.reference,
                "first": date_format(row.from_on),
                "last": date_format(row.until_on),
            },
            effects=effects_of_charging(chosen_one, row.account, seconds, seconds),
            note=what_happens(row, runs, seconds),
            button=gettext("Let it draw"),
            facts=facts_of(chosen_one),
        )

    def run(given: dict[str, Any]) -> tuple[str, Allocation]:
        told = {name: given[name] for name in ("account", "from_on", "until_on", "reason")}
        chosen_one = allocation or given["allocation"]
        row, charged = drawing.let_draw(allocation=chosen_one, by=by, at=timezone.now(), **told)
        return said_of(row, charged), chosen_one

    done = act_page(
        request,
        admin=page,
        row=allocation,
        title=_("Let a further account draw"),
        explanation=_(
            "On these days the account’s job runs on the GPU pool are charged to the allocation, beside those of the "
            "account that the allocation names itself. Runs that have waited are charged at once."
        ),
        facts=[*facts_of(allocation), *balance_of(allocation)] if allocation else facts,
        form=form,
        button=_("Continue"),
        run=run,
        refusals=REFUSALS,
        confirm=confirm,
    )
    return HttpResponseRedirect(leads_to) if leads_to and isinstance(done, HttpResponseRedirect) else done


def facts_of_waiting(pool: GpuPool, account: str) -> list[tuple[Any, str]]:
    """What waits of an account on a pool."""
    for line in lines_of([(pool.cluster_id, account)]):
        if line.days is not None and pool in [way.pool for way in line.ways]:
            return [
                (_("GPU pool"), str(pool)),
                (_("GPU-hours waiting"), exact_hours(line.seconds)),
                (_("Job runs"), grouped(line.runs, 0)),
                (_("Days"), period_of(*line.days)),
                (_("Users"), users_of(line)),
            ]
    return []


def said_of(row: DrawingAccount, charged: int) -> str:
    said = {
        "account": row.account,
        "reference": row.allocation.reference,
        "first": date_format(row.from_on),
        "last": date_format(row.until_on),
        "hours": exact_hours(charged),
    }
    draws = gettext("The Slurm account %(account)s draws on %(reference)s from %(first)s to %(last)s.") % said
    if not charged:
        return draws + " " + gettext("No job run had waited.")
    return draws + " " + gettext("%(hours)s GPU-hours of job runs that had waited were charged.") % said


def charged_to(row: DrawingAccount) -> int:
    """GPU-seconds that the account draws on the allocation now."""
    charges = RunCharge.objects.filter(
        allocation=row.allocation_id, day__gte=row.from_on, day__lte=row.until_on, run__account=row.account
    )
    return int(charges.aggregate(sum=Sum("seconds"))["sum"] or 0)


class StandingFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [("draws", _("Draws")), ("withdrawn", _("Withdrawn"))]

    def queryset(self, request: Any, queryset: QuerySet[DrawingAccount]) -> QuerySet[DrawingAccount]:
        wanted = {"draws": True, "withdrawn": False}.get(self.value() or "")
        return queryset if wanted is None else queryset.filter(withdrawn_at__isnull=wanted)


@admin.register(DrawingAccount)
class DrawingAccountAdmin(HistoryAdmin[DrawingAccount]):
    list_display = ("account", "reference", "project_code", "pool_code", "from_on", "until_on", "person", "standing")
    list_select_related = ("allocation__project", "pool", "made_by", "withdrawn_by")
    list_filter = (StandingFilter, "pool")
    search_fields = ("account", "allocation__reference", "allocation__project__code", "reason")
    search_help_text = _("By Slurm account, allocation, project or reason.")
    ordering = ("-made_at", "-id")
    fields = (
        *("account", "allocation", "pool", "from_on", "until_on", "charged", "reason", "made_by", "made_at"),
        *("withdrawn_by", "withdrawn_at"),
    )
    readonly_fields = ("charged",)

    def heading(self, obj: DrawingAccount) -> str:
        return gettext("%(account)s on %(reference)s") % {"account": obj.account, "reference": obj.allocation.reference}

    def get_queryset(self, request: HttpRequest) -> QuerySet[DrawingAccount]:
        related = ("allocation__project", "allocation__pool__cluster", "made_by", "withdrawn_by", "pool")
        return super().get_queryset(request).select_related(*related)

    @admin.display(description=_("allocation"), ordering="allocation__reference")
    def reference(self, obj: DrawingAccount) -> str:
        return obj.allocation.reference

    @admin.display(description=_("project"), ordering="allocation__project__code")
    def project_code(self, obj: DrawingAccount) -> str:
        return obj.allocation.project.code

    @admin.display(description=_("GPU pool"), ordering="pool__code")
    def pool_code(self, obj: DrawingAccount) -> str:
        return obj.pool.code

    @admin.display(description=_("by"), ordering="made_by__name")
    def person(self, obj: DrawingAccount) -> str:
        return obj.made_by.get_full_name()

    @admin.display(description=_("state"), ordering="withdrawn_at")
    def standing(self, obj: DrawingAccount) -> str:
        return standing_of(obj)

    @admin.display(description=_("charged (GPU-hours)"))
    def charged(self, obj: DrawingAccount) -> str:
        return exact_hours(charged_to(obj))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(MAY_ACT)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Let an account draw; from the page of what waits, among the allocations of the pool on which it waits."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        wanted = request.GET.get("pool", "")
        pool = GpuPool.objects.filter(pk=int(wanted)).first() if is_row_number(wanted) else None
        initial = prefilled(DrawForm, request.GET)
        return let_draw_page(
            request,
            self,
            form=DrawOnForm(request.POST or None, pool=pool, initial=initial),
            facts=facts_of_waiting(pool, initial.get("account", "")) if pool is not None else (),
            leads_to=reverse("admin:allocations_unmatched") if pool is not None else "",
        )

    def acts(self, request: HttpRequest, obj: DrawingAccount) -> list[ActLink]:
        if obj.withdrawn_at is not None or not request.user.has_perm(MAY_ACT):
            return []
        return [ActLink(_("Withdraw"), "../withdraw/")]

    def get_urls(self) -> list[URLPattern]:
        unmatched = path(
            "unmatched/",
            self.admin_site.admin_view(lambda request: unmatched_page(request, self)),
            name="allocations_unmatched",
        )
        return [unmatched, *act_urls(self, [("withdraw", self.withdraw)]), *super().get_urls()]

    def withdraw(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return withdraw_page(request, self, row_of_act(self, request, object_id, MAY_ACT))


def withdraw_page(request: HttpRequest, page: KeptAdmin[Any], row: DrawingAccount) -> HttpResponse:
    """Take back that an account draws on an allocation, and with it what it was charged."""
    by = signed_in(request)

    def confirm(given: dict[str, Any]) -> Confirmation | None:
        drawing.refuse_withdrawal(row, by=by, reason=given["reason"])
        return Confirmation(
            headline=gettext("Withdraw %(account)s from %(reference)s")
            % {"account": row.account, "reference": row.allocation.reference},
            effects=effects_of_charging(row.allocation, row.account, -charged_to(row), 0),
            note=gettext("What it was charged is given back at once, and its job runs wait for an allocation again."),
            button=gettext("Withdraw"),
            danger=True,
        )

    def run(given: dict[str, Any]) -> tuple[str, Allocation]:
        given_back = drawing.withdraw(drawing_account=row, by=by, at=timezone.now(), **given)
        sentence = gettext(
            "The Slurm account %(account)s was withdrawn from %(reference)s; %(hours)s GPU-hours were given back."
        ) % {"account": row.account, "reference": row.allocation.reference, "hours": exact_hours(given_back)}
        return sentence, row.allocation

    return act_page(
        request,
        admin=page,
        row=row,
        title=_("Withdraw this account"),
        explanation=_(
            "All that it drew is given back, as if it had never drawn. To end it from a day on, withdraw it and let it "
            "draw again until the day before."
        ),
        facts=[
            (_("Slurm account"), row.account),
            (_("Days"), period_of(row.from_on, row.until_on)),
            *facts_of(row.allocation),
        ],
        form=ReasonForm(request.POST or None),
        button=_("Continue"),
        danger=True,
        run=run,
        refusals=REFUSALS,
        confirm=confirm,
    )


def period_of(first: date, last: date) -> str:
    return date_format(first) if first == last else f"{date_format(first)} – {date_format(last)}"


def standing_of(row: DrawingAccount) -> str:
    """Whether it counts; the person who withdrew it must be loaded."""
    if row.withdrawn_by is None:
        return gettext("Draws")
    return gettext("Withdrawn by %(person)s") % {"person": row.withdrawn_by.get_full_name()}


class AccountsOfAllocation(HistoryInline[DrawingAccount]):
    """On an allocation's page: which further accounts draw on it, and the way to withdraw one."""

    model = DrawingAccount
    fk_name = "allocation"
    fields = ("account", "from_on", "until_on", "reason", "person", "standing", "withdrawal")
    readonly_fields = ("person", "standing", "withdrawal")
    related = ("made_by", "withdrawn_by")
    verbose_name_plural = _("Further Slurm accounts")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        may_act = request.user.has_perm(MAY_ACT)
        return tuple(name for name in self.fields if may_act or name != "withdrawal")

    @admin.display(description=_("by"))
    def person(self, obj: DrawingAccount) -> str:
        return obj.made_by.get_full_name()

    @admin.display(description=_("state"))
    def standing(self, obj: DrawingAccount) -> str:
        return standing_of(obj)

    @admin.display(description=_("act"))
    def withdrawal(self, obj: DrawingAccount) -> SafeString | str:
        if obj.withdrawn_at is not None:
            return "–"
        url = reverse("admin:allocations_drawingaccount_withdraw", args=[obj.pk])
        return format_html('<a href="{}">{}</a>', url, gettext("Withdraw"))
