"""Staff roles: one administrator asks that somebody holds a role, another approves it; nobody edits their own."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from centre import appointments, members
from centre.admin.acts import act_page, act_urls, row_of_act
from centre.admin.choosing import ReasonForm, chosen, day
from centre.admin.kept import ActLink, HistoryAdmin
from centre.appointments import MAY_ASK
from centre.http import signed_in
from centre.models import Appointment
from centre.permissions import StaffRole

REFUSALS = (appointments.AppointmentError, members.MemberError)
MAY_APPROVE = "centre.approve_appointment"


class StandingFilter(admin.SimpleListFilter):
    title = _("standing")
    parameter_name = "standing"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("in_force", _("In force today")),
            ("waiting", _("Waiting for approval")),
            ("over", _("Ended or withdrawn")),
        ]

    def queryset(self, request: Any, queryset: QuerySet[Appointment]) -> QuerySet[Appointment]:
        today = timezone.localdate()
        in_force = Q(approved_at__isnull=False, from_on__lte=today) & (Q(until_on=None) | Q(until_on__gte=today))
        wanted = {
            "in_force": in_force,
            "waiting": Q(approved_at__isnull=True, withdrawn_at__isnull=True),
            "over": Q(until_on__lt=today) | Q(withdrawn_at__isnull=False),
        }
        return queryset.filter(wanted.get(self.value() or "", Q()))


class AskingForm(ReasonForm):
    """Who is to hold which role from when to when."""

    user = chosen(Appointment, "user")
    role = forms.ChoiceField(label=_("Role"), choices=StaffRole.choices)
    from_on = day(label=_("From"))
    until_on = day(label=_("Until"), required=False, help_text=_("The last day; empty while it is open."))
    field_order = ("user", "role", "from_on", "until_on", "reason")


class EndingForm(ReasonForm):
    until_on = day(label=_("The last day"))
    field_order = ("until_on", "reason")


@admin.register(Appointment)
class AppointmentAdmin(HistoryAdmin[Appointment]):
    list_display = ("user", "role", "from_on", "until_on", "standing", "asked_by", "approved_by")
    list_select_related = ("user", "asked_by", "approved_by")
    list_filter = (StandingFilter, "role")
    search_fields = ("user__email", "user__name")
    ordering = ("-id",)
    fields = (
        "user",
        "role",
        "from_on",
        "until_on",
        "standing",
        "reason",
        "asked_by",
        "asked_at",
        "approved_by",
        "approved_at",
        "withdrawn_at",
    )
    readonly_fields = ("standing",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Appointment]:
        return super().get_queryset(request).select_related("user", "asked_by", "approved_by")

    @admin.display(description=_("standing"))
    def standing(self, obj: Appointment) -> str:
        if obj.withdrawn_at:
            return gettext("Withdrawn")
        if obj.approved_at is None:
            return gettext("Waiting for approval")
        today = timezone.localdate()
        if obj.from_on > today:
            return gettext("Begins later")
        return gettext("Ended") if obj.until_on and obj.until_on < today else gettext("In force")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(MAY_ASK)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Ask that somebody holds a role; it counts once another administrator approves it."""
        if not self.has_add_permission(request):
            raise PermissionDenied

        def run(given: dict[str, Any]) -> tuple[str, Appointment]:
            role = StaffRole(given.pop("role"))
            asked = appointments.ask(**given, role=role, by=signed_in(request), at=timezone.now())
            return gettext("The appointment waits for another administrator’s approval."), asked

        return act_page(
            request,
            admin=self,
            row=None,
            title=_("Ask for an appointment"),
            explanation=_("The role counts once another administrator has approved it."),
            form=AskingForm(request.POST or None, initial={"from_on": timezone.localdate()}),
            button=_("Ask for approval"),
            run=run,
            refusals=REFUSALS,
        )

    def acts(self, request: HttpRequest, obj: Appointment) -> list[ActLink]:
        waiting = obj.approved_at is None and obj.withdrawn_at is None
        links = []
        if waiting and request.user.has_perm(MAY_APPROVE) and request.user.pk not in (obj.asked_by_id, obj.user_id):
            links.append(ActLink(_("Approve"), "../approve/"))
        if waiting and request.user.has_perm(MAY_ASK):
            links.append(ActLink(_("Withdraw"), "../withdraw/"))
        over = obj.until_on is not None and obj.until_on < timezone.localdate()
        if obj.approved_at and not over and request.user.has_perm(MAY_APPROVE):
            links.append(ActLink(_("End"), "../end/"))
        return links

    def get_urls(self) -> list[URLPattern]:
        acts = [("approve", self.approve), ("withdraw", self.withdraw), ("end", self.end)]
        return [*act_urls(self, acts), *super().get_urls()]

    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row: Appointment = row_of_act(self, request, object_id, MAY_APPROVE)

        def run(given: dict[str, Any]) -> tuple[str, Appointment]:
            appointments.approve(appointment=row, by=signed_in(request), at=timezone.now())
            return gettext("%(person)s: %(role)s.") % {"person": row.user, "role": row.get_role_display()}, row

        return act_page(
            request,
            admin=self,
            row=row,
            title=_("Approve the appointment"),
            explanation=_("From the first day on, the person may do everything that the role allows."),
            facts=self.facts(row),
            button=_("Approve"),
            run=run,
            refusals=REFUSALS,
        )

    def withdraw(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row: Appointment = row_of_act(self, request, object_id, MAY_ASK)

        def run(given: dict[str, Any]) -> tuple[str, Appointment]:
            appointments.withdraw(appointment=row, by=signed_in(request), at=timezone.now(), **given)
            return gettext("The appointment was withdrawn."), row

        return act_page(
            request,
            admin=self,
            row=row,
            title=_("Withdraw the appointment"),
            explanation=_(
                "The appointment does not come to count: the person gets no right from it. It stays on record, and the "
                "role can be asked for again."
            ),
            facts=self.facts(row),
            form=ReasonForm(request.POST or None),
            button=_("Withdraw"),
            danger=True,
            run=run,
            refusals=REFUSALS,
        )

    def end(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row: Appointment = row_of_act(self, request, object_id, MAY_APPROVE)

        def run(given: dict[str, Any]) -> tuple[str, Appointment]:
            appointments.end(appointment=row, by=signed_in(request), at=timezone.now(), **given)
            return gettext("The appointment ends on %(day)s.") % {"day": date_format(given["until_on"])}, row

        return act_page(
            request,
            admin=self,
            row=row,
            title=_("End the appointment"),
            explanation=_(
                "After that day the person may no longer do what the role allows. What they did stays on record."
            ),
            facts=self.facts(row),
            form=EndingForm(request.POST or None, initial={"until_on": timezone.localdate()}),
            button=_("End the appointment"),
            danger=True,
            run=run,
            refusals=REFUSALS,
        )

    def facts(self, row: Appointment) -> tuple[tuple[Any, str], ...]:
        until = date_format(row.until_on) if row.until_on else "…"
        return (
            (_("Person"), str(row.user)),
            (_("Role"), str(row.get_role_display())),
            (_("Period"), f"{date_format(row.from_on)} – {until}"),
            (_("Asked for by"), str(row.asked_by or "–")),
            (_("Reason"), row.reason),
        )
