"""Who belongs to what: members of projects, representatives of tenants. Rows begin and end by acts, never by hand."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from centre import members
from centre.admin.acts import Effect, act_page, act_urls, row_of_act
from centre.admin.kept import ActLink, HistoryAdmin, KeptAdmin
from centre.http import signed_in
from centre.models import Membership, Project, Representative, Tenant, User
from centre.permissions import ProjectRole

REFUSALS = (members.MemberError,)


class PersonForm(forms.Form):
    """Someone by e-mail address: known, or new to the portal."""

    email = forms.EmailField(label=_("E-mail address"), max_length=254)
    name = forms.CharField(
        label=_("Name"),
        max_length=200,
        required=False,
        help_text=_("Only needed for somebody who is new to the portal."),
    )


class MemberForm(PersonForm):
    role = forms.ChoiceField(label=_("Role"), choices=ProjectRole.choices, initial=ProjectRole.MEMBER)


class RoleForm(forms.Form):
    role = forms.ChoiceField(label=_("Role"), choices=ProjectRole.choices)


def person_of(form: dict[str, Any], *, by: User) -> User:
    """The person with the address that was filled in; one who is new to the portal is added and invited."""
    address = members.email_address(form["email"])
    known = User.objects.filter(email=address).first()
    if known is not None:
        return known
    now = timezone.now()
    added = members.add_person(email=address, name=form["name"], by=by, at=now)
    members.invite(people=[added], by=by, at=now)
    return added


def add_member_page(request: HttpRequest, page: KeptAdmin[Project], project: Project) -> HttpResponse:
    """Add a person to the project's team."""

    @transaction.atomic
    def run(given: dict[str, Any]) -> tuple[str, Project]:
        by = signed_in(request)
        person = person_of(given, by=by)
        members.add_member(project=project, user=person, role=ProjectRole(given["role"]), by=by, at=timezone.now())
        return gettext("%(person)s now belongs to %(project)s.") % {"person": person, "project": project.code}, project

    return act_page(
        request,
        admin=page,
        row=project,
        title=_("Add a member"),
        explanation=_("Somebody who is new to the portal gets a letter with a link for the first sign-in."),
        form=MemberForm(request.POST or None),
        button=_("Add to the team"),
        run=run,
        refusals=REFUSALS,
    )


def represent_page(request: HttpRequest, page: KeptAdmin[Tenant], tenant: Tenant) -> HttpResponse:
    """Make a person a signatory of the tenant."""

    @transaction.atomic
    def run(given: dict[str, Any]) -> tuple[str, Tenant]:
        by = signed_in(request)
        person = person_of(given, by=by)
        members.represent(tenant=tenant, user=person, by=by, at=timezone.now())
        return gettext("%(person)s now represents %(tenant)s.") % {"person": person, "tenant": tenant}, tenant

    return act_page(
        request,
        admin=page,
        row=tenant,
        title=_("Add a representative"),
        explanation=_("A representative may sign for the tenant and sees all of its projects."),
        form=PersonForm(request.POST or None),
        button=_("Add the representative"),
        run=run,
        refusals=REFUSALS,
    )


class CurrentFilter(admin.SimpleListFilter):
    """Those who belong today, or those who once did."""

    title = _("time")
    parameter_name = "time"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [("today", _("Today")), ("ended", _("Ended"))]

    def queryset(self, request: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        return queryset.filter(ended_at__isnull=self.value() == "today")


@admin.register(Membership)
class MembershipAdmin(HistoryAdmin[Membership]):
    list_display = ("user", "project_code", "role", "since_at", "ended_at")
    list_select_related = ("user", "project")
    list_filter = (CurrentFilter, "role")
    search_fields = ("user__email", "user__name", "project__code", "project__title")
    search_help_text = _("By the person or the project. People are added on the project’s page.")
    ordering = ("-id",)
    fields = ("project", "user", "role", "since_at", "ended_at", "added_by", "ended_by")

    def heading(self, obj: Membership) -> str:
        return f"{obj.project.code}: {obj.user.get_full_name()}, {obj.get_role_display()}"

    @admin.display(description=_("project"), ordering="project__code")
    def project_code(self, obj: Membership) -> str:
        return obj.project.code

    def acts(self, request: HttpRequest, obj: Membership) -> list[ActLink]:
        if obj.ended_at is not None or not request.user.has_perm("centre.change_membership"):
            return []
        return [ActLink(_("Change the role"), "../role/"), ActLink(_("Remove from the project"), "../remove/")]

    def get_urls(self) -> list[URLPattern]:
        return [*act_urls(self, [("role", self.change_role), ("remove", self.remove)]), *super().get_urls()]

    def change_role(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Another role from now on; the time in the old one stays on record."""
        row: Membership = row_of_act(self, request, object_id, "centre.change_membership")

        def run(given: dict[str, Any]) -> tuple[str, Membership]:
            begun = members.change_role(
                membership=row, role=ProjectRole(given["role"]), by=signed_in(request), at=timezone.now()
            )
            return gettext("%(person)s is now %(role)s of %(project)s.") % {
                "person": row.user,
                "role": ProjectRole(begun.role).label,
                "project": row.project.code,
            }, begun

        return act_page(
            request,
            admin=self,
            row=row,
            title=_("Change the role"),
            facts=self.facts(row),
            form=RoleForm(request.POST or None, initial={"role": row.role}),
            button=_("Change the role"),
            run=run,
            refusals=REFUSALS,
        )

    def remove(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The person leaves the project at once."""
        row: Membership = row_of_act(self, request, object_id, "centre.change_membership")

        def run(given: dict[str, Any]) -> tuple[str, Membership]:
            members.remove_member(membership=row, by=signed_in(request), at=timezone.now())
            return gettext("%(person)s has left %(project)s.") % {"person": row.user, "project": row.project.code}, row

        return act_page(
            request,
            admin=self,
            row=row,
            title=_("Remove from the project"),
            explanation=_(
                "The person no longer sees the project from the next click on. What they used stays charged."
            ),
            facts=self.facts(row),
            button=_("Remove from the project"),
            danger=True,
            run=run,
            refusals=REFUSALS,
        )

    def facts(self, row: Membership) -> tuple[tuple[Any, str], ...]:
        return (
            (_("Person"), str(row.user)),
            (_("Project"), str(row.project)),
            (_("Role"), row.get_role_display()),
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return super().get_queryset(request).select_related("user", "project")


@admin.register(Representative)
class RepresentativeAdmin(HistoryAdmin[Representative]):
    list_display = ("user", "tenant", "since_at", "ended_at")
    list_select_related = ("user", "tenant")
    list_filter = (CurrentFilter,)
    search_fields = ("user__email", "user__name", "tenant__code", "tenant__name_en", "tenant__name_zh_hant")
    search_help_text = _("By the person or the tenant. Representatives are added on the tenant’s page.")
    ordering = ("-id",)
    fields = ("tenant", "user", "since_at", "ended_at")

    def heading(self, obj: Representative) -> str:
        return f"{obj.tenant.name}: {obj.user.get_full_name()}"

    def acts(self, request: HttpRequest, obj: Representative) -> list[ActLink]:
        if obj.ended_at is not None or not request.user.has_perm("centre.change_representative"):
            return []
        return [ActLink(_("End the representation"), "../end/")]

    def get_urls(self) -> list[URLPattern]:
        return [*act_urls(self, [("end", self.end)]), *super().get_urls()]

    def end(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The person no longer signs for the tenant."""
        row: Representative = row_of_act(self, request, object_id, "centre.change_representative")

        def run(given: dict[str, Any]) -> tuple[str, Representative]:
            members.end_representation(representative=row, by=signed_in(request), at=timezone.now())
            return gettext("%(person)s no longer represents %(tenant)s.") % {
                "person": row.user,
                "tenant": row.tenant,
            }, row

        return act_page(
            request,
            admin=self,
            row=row,
            title=_("End the representation"),
            explanation=_("The person no longer sees the tenant’s projects from the next click on."),
            facts=((_("Person"), str(row.user)), (_("Tenant"), str(row.tenant))),
            effects=(Effect(_("Represents the tenant"), _("Yes"), _("No")),),
            button=_("End the representation"),
            danger=True,
            run=run,
            refusals=REFUSALS,
        )
