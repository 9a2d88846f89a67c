"""People: who is known, whether they may sign in, and whose names on clusters are theirs."""

from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import Count, OuterRef, Prefetch, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from centre import accounts, appointments, members
from centre.admin.acts import Effect, act_page, act_urls, row_of_act
from centre.admin.choosing import ReasonForm
from centre.admin.kept import ActLink, HistoryInline, KeptAdmin
from centre.http import signed_in
from centre.models import Appointment, ClusterUser, Membership, Representative, User
from centre.permissions import ProjectRole

REFUSALS = (members.MemberError,)
SHOWN_PROJECTS = 20


class StaffFilter(admin.SimpleListFilter):
    title = _("staff role")
    parameter_name = "staff"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("Centre staff today")), ("no", _("Everybody else"))]

    def queryset(self, request: Any, queryset: QuerySet[User]) -> QuerySet[User]:
        staff = Appointment.objects.in_force(on=timezone.localdate()).values("user")
        if self.value() == "yes":
            return queryset.filter(pk__in=staff)
        return queryset.exclude(pk__in=staff) if self.value() == "no" else queryset


class FirstSignInFilter(admin.SimpleListFilter):
    title = _("first sign-in")
    parameter_name = "first"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("done", _("Has a password")),
            ("invited", _("Link sent, no password yet")),
            ("not_invited", _("No link sent yet")),
        ]

    def queryset(self, request: Any, queryset: QuerySet[User]) -> QuerySet[User]:
        without = queryset.filter(members.WITHOUT_PASSWORD)
        if self.value() == "done":
            return queryset.exclude(members.WITHOUT_PASSWORD)
        if self.value() in ("invited", "not_invited"):
            return without.filter(invited_at__isnull=self.value() == "not_invited")
        return queryset


class RolesOfPerson(HistoryInline[Appointment]):
    model = Appointment
    fk_name = "user"
    fields = ("role", "from_on", "until_on", "asked_by", "approved_by", "withdrawn_at")
    related = ("asked_by", "approved_by")
    verbose_name_plural = _("Staff roles")


class ProjectsOfPerson(HistoryInline[Membership]):
    model = Membership
    fk_name = "user"
    fields = ("project", "role", "since_at", "ended_at")
    related = ("project",)
    verbose_name_plural = _("Projects")


class TenantsOfPerson(HistoryInline[Representative]):
    model = Representative
    fk_name = "user"
    fields = ("tenant", "since_at", "ended_at")
    related = ("tenant",)
    verbose_name_plural = _("Represents")


class ClusterNamesOfPerson(HistoryInline[ClusterUser]):
    model = ClusterUser
    fk_name = "user"
    fields = ("cluster", "name")
    related = ("cluster",)
    verbose_name_plural = _("User names on clusters")


@admin.register(User)
class PersonAdmin(KeptAdmin[User]):
    list_display = ("email", "name", "roles", "projects", "is_active", "invited_at", "last_login")
    list_filter = (StaffFilter, FirstSignInFilter, "is_active")
    search_fields = ("email", "name")
    ordering = ("email",)
    actions = ("send_links",)
    fields = ("email", "name", "language", "is_active", "invited_at", "last_login", "created_at")
    inlines = (RolesOfPerson, ProjectsOfPerson, TenantsOfPerson, ClusterNamesOfPerson)
    refusals = REFUSALS

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        joined = Membership.objects.current().filter(user=OuterRef("pk")).order_by()
        counted = joined.values("user").annotate(number=Count("pk")).values("number")
        return super().get_queryset(request).annotate(projects_today=Coalesce(Subquery(counted), 0))

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The roles of everybody on the page in one query."""
        page = super().get_changelist_instance(request)
        in_force = Appointment.objects.in_force(on=timezone.localdate())
        page.result_list = page.result_list.prefetch_related(
            Prefetch("appointments", queryset=in_force, to_attr="roles_today")
        )
        return page

    def get_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        return self.fields if obj else ("email", "name", "language")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        """Who changes an address could sign in with it: it stays once the person signed in or was asked for as staff.

        Closing and opening an account are acts of their own.
        """
        shown = ("is_active", "invited_at", "last_login", "created_at")
        if obj is None:
            return shown
        settled = obj.last_login is not None or obj.has_usable_password() or obj.appointments.exists()
        return (*shown, *(("email",) if settled else ()))

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Centre staff, and who is to become it, are changed only by those who may ask for appointments."""
        allowed = super().has_change_permission(request, obj)
        if not allowed or obj is None or request.user.has_perm("centre.add_appointment"):
            return allowed
        return not accounts.standing_appointments(obj, at=timezone.now()).exists()

    @admin.display(description=_("staff roles"))
    def roles(self, obj: Any) -> str:
        return ", ".join(str(appointment.get_role_display()) for appointment in obj.roles_today)

    @admin.display(description=_("projects"), ordering="projects_today")
    def projects(self, obj: Any) -> int:
        return int(obj.projects_today)

    def add_by_verb(self, obj: User, form: Any, by: User, at: datetime) -> bool:
        made = members.add_person(email=obj.email, name=obj.name, language=obj.language, by=by, at=at)
        obj.pk = made.pk
        return True

    @admin.action(description=_("Send first-sign-in links"), permissions=["invite"])
    def send_links(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        """To those of the chosen people who have no password yet; the page before says who they are."""
        waiting = queryset.filter(members.WITHOUT_PASSWORD, is_active=True)
        if "confirmed" not in request.POST:
            return self.confirm_links(request, queryset, list(waiting))
        invited = members.invite(people=waiting, by=signed_in(request), at=timezone.now())
        self.tell_invited(request, invited)
        return None

    def confirm_links(self, request: HttpRequest, queryset: QuerySet[User], waiting: list[User]) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": _("Send first-sign-in links"),
            "opts": self.opts,
            "chosen": list(queryset),
            "waiting": waiting,
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/send_links.html", context)

    def tell_invited(self, request: HttpRequest, invited: members.Invited) -> None:
        sent = len(invited.people) - len(invited.undelivered)
        self.message_user(
            request,
            ngettext(
                "A first-sign-in link was sent to %(number)s person.",
                "First-sign-in links were sent to %(number)s people.",
                sent,
            )
            % {"number": sent},
            messages.SUCCESS,
        )
        if invited.undelivered:
            addresses = ", ".join(person.email for person in invited.undelivered)
            self.message_user(
                request, gettext("No letter could be sent to: %(addresses)s") % {"addresses": addresses}, messages.ERROR
            )

    def has_invite_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("centre.invite_user")

    def acts(self, request: HttpRequest, obj: User) -> list[ActLink]:
        links = []
        if obj.is_active and not obj.has_usable_password() and self.has_invite_permission(request):
            links.append(ActLink(_("Send first-sign-in link"), "../invite/"))
        if obj.pk != request.user.pk and self.has_change_permission(request, obj):
            links.append(
                ActLink(_("Close the account"), "../close/")
                if obj.is_active
                else ActLink(_("Open the account again"), "../reopen/")
            )
        return links

    def get_urls(self) -> list[URLPattern]:
        acts = [("invite", self.invite), ("close", self.close), ("reopen", self.reopen)]
        return [*act_urls(self, acts), *super().get_urls()]

    def person_to_change(self, request: HttpRequest, object_id: str) -> User:
        """The person that an act is about, for who may change them."""
        person: User = row_of_act(self, request, object_id, "centre.change_user")
        if not self.has_change_permission(request, person):
            raise PermissionDenied
        return person

    def close(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The person signs in no more; the page says what ends with it."""
        person = self.person_to_change(request, object_id)

        def run(given: dict[str, Any]) -> tuple[str, User]:
            accounts.close_account(user=person, by=signed_in(request), at=timezone.now(), **given)
            return gettext("The account of %(person)s is closed.") % {"person": person.email}, person

        return act_page(
            request,
            admin=self,
            row=person,
            title=_("Close the account"),
            explanation=_(
                "The person is signed out with the next click and cannot sign in any more. Nothing that they did is "
                "lost. Jobs of theirs on the clusters go on: access to a cluster is taken away there."
            ),
            facts=((_("E-mail address"), person.email), (capfirst(_("name")), person.name)),
            effects=effects_of_closing(person),
            form=ReasonForm(request.POST or None),
            button=_("Close the account"),
            danger=True,
            run=run,
            refusals=(*REFUSALS, appointments.AppointmentError),
        )

    def reopen(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The person may sign in again, as a member of their teams and without any staff role."""
        person = self.person_to_change(request, object_id)

        def run(given: dict[str, Any]) -> tuple[str, User]:
            accounts.reopen_account(user=person, by=signed_in(request), at=timezone.now(), **given)
            return gettext("The account of %(person)s is open again.") % {"person": person.email}, person

        return act_page(
            request,
            admin=self,
            row=person,
            title=_("Open the account again"),
            explanation=_(
                "The person signs in as before and sees the projects that they still belong to. Staff roles do not "
                "come back: they are asked for and approved anew."
            ),
            facts=((_("E-mail address"), person.email), (capfirst(_("name")), person.name)),
            form=ReasonForm(request.POST or None),
            button=_("Open the account again"),
            run=run,
            refusals=REFUSALS,
        )

    def invite(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Send one person the link with which they choose their password."""
        person: User = row_of_act(self, request, object_id, "centre.invite_user")

        def run(given: dict[str, Any]) -> tuple[str, User]:
            invited = members.invite(people=[person], by=signed_in(request), at=timezone.now())
            if not invited.people:
                raise members.AlreadyKnown(gettext("This person has a password already, or may not sign in."))
            if invited.undelivered:
                raise members.NotAnAddress(gettext("No letter could be sent to this address."))
            return gettext("A first-sign-in link was sent to %(address)s.") % {"address": person.email}, person

        return act_page(
            request,
            admin=self,
            row=person,
            title=_("Send first-sign-in link"),
            explanation=_(
                "A letter goes to the address below, with a link that lives for a week. "
                "With it the person chooses a password."
            ),
            facts=((_("E-mail address"), person.email), (capfirst(_("name")), person.name)),
            button=_("Send the link"),
            run=run,
            refusals=REFUSALS,
        )


def effects_of_closing(person: User) -> list[Effect]:
    """What the person loses: signing in, staff roles, projects that nobody else leads, tenants they sign for."""
    roles = [
        Effect(
            appointment.get_role_display(),
            gettext("Waits for approval") if appointment.approved_at is None else gettext("Appointed"),
            gettext("Withdrawn") if appointment.approved_at is None else gettext("Ends today"),
        )
        for appointment in accounts.standing_appointments(person, at=timezone.now())
    ]
    memberships = Membership.objects.current().filter(user=person).select_related("project").order_by("project__code")
    others = (
        Membership.objects.current()
        .filter(role=ProjectRole.LEAD, user__is_active=True, project__in=memberships.values("project"))
        .exclude(user=person)
    )
    led = set(others.values_list("project", flat=True))
    projects = [
        Effect(
            membership.project.code,
            membership.get_role_display(),
            gettext("Member without access")
            if membership.role != ProjectRole.LEAD or membership.project_id in led
            else gettext("Nobody else leads it: make somebody a lead"),
        )
        for membership in memberships[:SHOWN_PROJECTS]
    ]
    return [Effect(_("May sign in"), _("Yes"), _("No")), *roles, *projects]


@admin.register(ClusterUser)
class ClusterUserAdmin(KeptAdmin[ClusterUser]):
    list_display = ("name", "cluster", "user")
    list_select_related = ("cluster", "user")
    list_filter = ("cluster",)
    search_fields = ("name", "user__email", "user__name")
    autocomplete_fields = ("cluster", "user")
    fields = ("cluster", "name", "user")
    refusals = REFUSALS

    def get_readonly_fields(self, request: HttpRequest, obj: ClusterUser | None = None) -> tuple[str, ...]:
        return ("cluster", "name") if obj else ()

    def add_by_verb(self, obj: ClusterUser, form: Any, by: User, at: datetime) -> bool:
        made = members.add_cluster_user(cluster=obj.cluster, name=obj.name, user=obj.user, by=by, at=at)
        obj.pk = made.pk
        return True
