"""Requests about GPU time: one officer asks, another looks at what would change and answers."""

from datetime import date
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from allocations import requests
from allocations.admin.allocation_list import with_below
from allocations.admin.answering import approve_together_page, told
from allocations.admin.effects import effects_of, headline
from allocations.admin.movements import facts_of_entry
from allocations.admin.proposing import REFUSALS, facts_of, said_of, text_field
from allocations.admin.request_list import AskedByFilter, StateFilter, WaitsFilter
from allocations.admin.together import go_to
from allocations.models import ChangeRequest, JobRun, RequestedRun
from allocations.request_words import TONES
from allocations.run_states import in_words
from centre.admin.acts import Confirmation, act_page, act_urls, row_of_act
from centre.admin.choosing import day
from centre.admin.confirming import exact_hours
from centre.admin.kept import ActLink, HistoryAdmin, HistoryInline
from centre.forms import GpuHoursField
from centre.http import signed_in
from centre.models import User
from centre.templatetags.desk import time_since
from centre.templatetags.portal import badge, gpu_hours, written_instant

MOST_RUNS = 200
Kind = ChangeRequest.Kind


class AnswerForm(forms.Form):
    answer = text_field(_("Answer"), required=False, help_text=_("The person who asked reads this."))


class PartForm(AnswerForm):
    """What can be approved in part: as much as was asked for stands in it, and whoever changes that says why."""

    part = ""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        given, asked = cleaned.get(self.part), self.initial.get(self.part)
        is_part = given is not None and asked is not None and given < asked
        if is_part and not str(cleaned.get("answer", "")).strip() and "answer" not in self.errors:
            self.add_error("answer", gettext(requests.WHY_A_PART))
        return cleaned


class ApprovalForm(PartForm):
    """What can be approved in part says how much."""

    part = "seconds"

    seconds = GpuHoursField(label=_("GPU-hours"), min_value=0, help_text=_("As asked, or fewer."))
    field_order = ("seconds", "answer")


class ExtensionForm(PartForm):
    """A longer period may be given for fewer days."""

    part = "until_on"
    until_on = day(label=_("Last day"), help_text=_("As asked, or an earlier day."))
    field_order = ("until_on", "answer")


class DoneForm(forms.Form):
    """What moves no hours is answered in words."""

    answer = text_field(_("Answer"), help_text=_("What was done. The person who asked reads this."))


class RefusalForm(forms.Form):
    answer = text_field(_("Answer"), help_text=_("Why not. The person who asked reads this."))


class RunsOfRequest(HistoryInline[RequestedRun]):
    model = RequestedRun
    fk_name = "request"
    fields = ("run", "state", "nodes", "started", "hours")
    readonly_fields = ("state", "nodes", "started", "hours")
    related = ("run",)
    verbose_name_plural = _("The job runs to refund (the first 50)")
    show_change_link = False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Part of what was asked."""
        return request.user.has_perm("allocations.view_changerequest")

    @admin.display(description=_("how it ended"))
    def state(self, obj: RequestedRun) -> str:
        return str(in_words(obj.run.state)[0])

    @admin.display(description=_("nodes"))
    def nodes(self, obj: RequestedRun) -> str:
        return Truncator(obj.run.node_list).chars(40)

    @admin.display(description=_("started"))
    def started(self, obj: RequestedRun) -> str:
        return written_instant(obj.run.start_at) if obj.run.start_at else "–"

    @admin.display(description=_("GPU-hours"))
    def hours(self, obj: RequestedRun) -> str:
        return gpu_hours(obj.seconds, 2)


@admin.register(ChangeRequest)
class ChangeRequestAdmin(HistoryAdmin[ChangeRequest]):
    list_display = ("what", "project_code", "asker", "when_asked", "standing", "answerer")
    list_select_related = ("project__tenant", "allocation", "to_allocation", "entry", "asked_by", "answered_by")
    list_filter = (StateFilter, WaitsFilter, AskedByFilter, "kind")
    search_fields = ("project__code", "project__title", "allocation__reference", "asked_by__email", "asked_by__name")
    search_help_text = _("By project, allocation, or the person who asked.")
    ordering = ("-asked_at",)
    actions = ("approve_chosen",)
    fields = (
        *("project", "allocation", "to_allocation", "entry", "kind", "state", "hours", "given"),
        *("asked_until_on", "approved_until_on", "reason"),
        *("asked_by", "asked_at", "answer", "answered_by", "answered_at"),
    )
    readonly_fields = ("hours", "given")
    inlines = (RunsOfRequest,)

    def heading(self, obj: ChangeRequest) -> str:
        return f"{obj.project.code}: {obj.get_kind_display()}"

    def get_fields(self, request: HttpRequest, obj: ChangeRequest | None = None) -> Any:
        """Only what a request of this kind is about."""
        if obj is None:
            return self.fields
        absent = {name for name in ("allocation", "to_allocation", "entry") if getattr(obj, f"{name}_id") is None}
        if obj.asked_seconds is None:
            absent |= {"hours", "given"}
        if obj.asked_until_on is None:
            absent |= {"asked_until_on", "approved_until_on"}
        return tuple(name for name in self.fields if name not in absent)

    def get_inlines(self, request: HttpRequest, obj: ChangeRequest | None) -> Any:
        return self.inlines if obj is not None and obj.kind == Kind.REFUND else ()

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """With what each of the rows asks for, in words: one query more, however many rows."""
        page = super().get_changelist_instance(request)
        rows = list(page.result_list)
        for row, (_about, what) in zip(rows, told(rows), strict=True):
            row.asks = what
        page.result_list = rows
        return page

    @admin.display(description=_("what is asked"), ordering="kind")
    def what(self, obj: Any) -> SafeString:
        return with_below(obj.asks, Truncator(obj.reason).chars(90))

    @admin.display(description=_("project"), ordering="project__code")
    def project_code(self, obj: ChangeRequest) -> SafeString:
        return with_below(obj.project.code, obj.project.tenant.name)

    @admin.display(description=_("state"), ordering="state")
    def standing(self, obj: ChangeRequest) -> SafeString:
        return badge(obj.get_state_display(), TONES[ChangeRequest.State(obj.state)])

    @admin.display(description=_("asked for by"), ordering="asked_by__name")
    def asker(self, obj: ChangeRequest) -> str:
        return obj.asked_by.name or obj.asked_by.email

    @admin.display(description=_("asked at"), ordering="asked_at")
    def when_asked(self, obj: ChangeRequest) -> SafeString | str:
        """When, and for how long it waits, while it does."""
        when = written_instant(obj.asked_at)
        if not requests.waits(obj):
            return when
        return with_below(when, time_since(obj.asked_at, timezone.now()))

    @admin.display(description=_("answered by"), ordering="answered_by__name")
    def answerer(self, obj: ChangeRequest) -> str:
        return obj.answered_by.name or obj.answered_by.email if obj.answered_by else "–"

    @admin.display(description=_("GPU-hours"), ordering="asked_seconds")
    def hours(self, obj: ChangeRequest) -> str:
        return exact_hours(obj.asked_seconds)

    @admin.display(description=_("approved (GPU-hours)"))
    def given(self, obj: ChangeRequest) -> str:
        return exact_hours(obj.approved_seconds)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ChangeRequest]:
        related = ("project__tenant", "allocation__project", "allocation__pool", "to_allocation__project", "hold")
        people = ("asked_by", "answered_by")
        return super().get_queryset(request).select_related(*related, *people, "entry__allocation")

    def acts(self, request: HttpRequest, obj: ChangeRequest) -> list[ActLink]:
        if not requests.waits(obj) or not requests.may_answer(signed_in(request), obj):
            return []
        if obj.asked_by_id == request.user.pk:
            return [ActLink(_("Withdraw"), "../withdraw/")]
        yes = _("Approve") if obj.kind in requests.CAN_BE_PROPOSED else _("Answer")
        return [ActLink(yes, "../approve/"), ActLink(_("Decline"), "../decline/")]

    def get_urls(self) -> list[URLPattern]:
        acts = [("approve", self.approve), ("decline", self.decline), ("withdraw", self.withdraw)]
        together = path(
            "together/approve/",
            self.admin_site.admin_view(self.approve_together),
            name="allocations_changerequest_together_approve",
        )
        return [together, *act_urls(self, acts), *super().get_urls()]

    def has_answer_permission(self, request: HttpRequest) -> bool:
        """Whoever answers requests that are carried out, and not just people’s."""
        return bool(requests.CAN_BE_PROPOSED & requests.answers(signed_in(request)))

    def approve_together(self, request: HttpRequest) -> HttpResponse:
        if not self.has_answer_permission(request):
            raise PermissionDenied
        return approve_together_page(request, self)

    @admin.action(description=_("Approve the chosen"), permissions=["answer"])
    def approve_chosen(self, request: HttpRequest, queryset: QuerySet[ChangeRequest]) -> HttpResponse | None:
        return go_to("approve", request, queryset, self)

    def row_to_answer(self, request: HttpRequest, object_id: str) -> ChangeRequest:
        """The request, for those who answer requests of its kind; 403 for others."""
        row: ChangeRequest = row_of_act(self, request, object_id, "allocations.view_changerequest")
        if not requests.may_answer(signed_in(request), row):
            raise PermissionDenied
        return row

    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Now and afterwards, then it is carried out; who changes the amount sees the effect of that first."""
        row = self.row_to_answer(request, object_id)
        by = signed_in(request)
        asked = row.asked_seconds or 0
        does_something = row.kind in requests.CAN_BE_PROPOSED
        runs = runs_of(row)

        def confirm(given: dict[str, Any]) -> Confirmation | None:
            if row.kind == Kind.EXTENSION:
                return shorter(row, given["until_on"])
            seconds = given.get("seconds", asked)
            if seconds == asked or not requests.waits(row) or not 0 < seconds < asked:
                return None  # the page before said it all, or the verb says why not
            return Confirmation(
                headline=headline(row, seconds),
                effects=effects_of(row, seconds),
                note=gettext(
                    "That is less than the %(hours)s GPU-hours that were asked for. The rest is not carried out."
                )
                % {"hours": exact_hours(asked)},
                button=gettext("Approve this part"),
            )

        def run(given: dict[str, Any]) -> tuple[str, ChangeRequest]:
            approved = requests.approve(request=row, by=by, at=timezone.now(), **given)
            return said_of(approved), approved

        waiting = requests.waits(row)
        return act_page(
            request,
            admin=self,
            row=row,
            title=_("Approve the request") if does_something else _("Answer the request"),
            explanation=headline(row, asked, runs=runs["count"]),
            facts=self.facts(row),
            effects=effects_of(row, asked) if waiting else (),
            form=form_of(row)(request.POST or None, initial={"seconds": asked, "until_on": row.asked_until_on}),
            button=_("Approve and carry out") if does_something else _("Send the answer"),
            run=run,
            refusals=REFUSALS,
            confirm=confirm,
            template="admin/allocations/approve.html",
            more={**runs, "waits": waiting, "has_two_steps": False},
        )

    def decline(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.row_to_answer(request, object_id)

        def run(given: dict[str, Any]) -> tuple[str, ChangeRequest]:
            requests.decline(request=row, by=signed_in(request), at=timezone.now(), **given)
            return gettext("The request was declined."), row

        return act_page(
            request,
            admin=self,
            row=row,
            title=_("Decline the request"),
            explanation=self.in_one_line(row),
            facts=self.facts(row),
            form=RefusalForm(request.POST or None),
            button=_("Decline"),
            danger=True,
            run=run,
            refusals=REFUSALS,
        )

    def withdraw(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.row_to_answer(request, object_id)

        def run(given: dict[str, Any]) -> tuple[str, ChangeRequest]:
            requests.withdraw(request=row, by=signed_in(request), at=timezone.now())
            return gettext("The request was withdrawn."), row

        return act_page(
            request,
            admin=self,
            row=row,
            title=_("Withdraw the request"),
            explanation=self.in_one_line(row),
            facts=self.facts(row),
            button=_("Withdraw"),
            danger=True,
            run=run,
            refusals=REFUSALS,
        )

    def in_one_line(self, row: ChangeRequest) -> str:
        return headline(row, row.asked_seconds, runs=row.runs.count() if row.kind == Kind.REFUND else 0)

    def facts(self, row: ChangeRequest) -> list[tuple[Any, str]]:
        """Who asked for what, why, and for which allocation."""
        asked_by: User = row.asked_by
        other = row.to_allocation
        return [
            (_("Asked for by"), f"{asked_by}, {written_instant(row.asked_at)}"),
            (_("Reason"), row.reason),
            *(facts_of(row.allocation) if row.allocation else [(_("Project"), str(row.project))]),
            *([(_("To allocation"), f"{other.reference}, {other.project}")] if other else []),
            *(facts_of_entry(row.entry) if row.entry else []),
        ]


def form_of(row: ChangeRequest) -> type[forms.Form]:
    """What is asked of whoever approves a request of this kind."""
    if row.kind == Kind.EXTENSION:
        return ExtensionForm
    if row.kind in requests.CAN_BE_PART_APPROVED:
        return ApprovalForm
    return AnswerForm if row.kind in requests.CAN_BE_PROPOSED else DoneForm


def shorter(row: ChangeRequest, until_on: date) -> Confirmation | None:
    """What a period that becomes longer, but less so than asked, looks like; None where the page before said it all."""
    asked = row.asked_until_on
    if asked is None or row.allocation is None or not row.allocation.end_on < until_on < asked:
        return None
    return Confirmation(
        headline=headline(row, None, until_on=until_on),
        effects=effects_of(row, 0, until_on=until_on),
        note=gettext("That is earlier than %(day)s, which was asked for.") % {"day": date_format(asked)},
        button=gettext("Approve until this day"),
    )


def runs_of(row: ChangeRequest) -> dict[str, Any]:
    """The job runs that a refund is asked for, as `run_rows.html` shows them: each with what it was charged."""
    if row.kind != Kind.REFUND:
        return {"runs": (), "count": 0}
    chosen = row.runs.select_related("run").order_by("-run__start_at", "-run")
    shown: list[tuple[JobRun, bool, Any]] = []
    for requested in chosen[:MOST_RUNS]:
        requested.run.refundable_seconds = requested.seconds
        shown.append((requested.run, True, in_words(requested.run.state)))
    return {"runs": shown, "count": row.runs.count()}
