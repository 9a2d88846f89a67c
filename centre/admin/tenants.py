"""Tenants and their projects: who they are, where they stand, and who belongs to them."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from centre import members, tenants
from centre.admin.acts import Effect, act_page, act_urls, row_of_act
from centre.admin.belonging import add_member_page, represent_page
from centre.admin.choosing import ReasonForm
from centre.admin.kept import ActLink, HistoryInline, KeptAdmin
from centre.http import signed_in
from centre.models import Membership, Project, Representative, Tenant, User
from centre.models.tenants import Standing
from centre.permissions import ProjectRole

Row = Tenant | Project
REFUSALS = (tenants.TenantError, members.MemberError)


def moves(request: HttpRequest, row: Row, permission: str) -> list[ActLink]:
    """Where the tenant or project can go from where it stands, for those who may move it."""
    if not request.user.has_perm(permission):
        return []
    labels = {
        Standing.SUSPENDED: ActLink(_("Suspend"), "../suspend/"),
        Standing.ACTIVE: ActLink(_("Resume"), "../resume/"),
        Standing.CLOSED: ActLink(_("Close"), "../close/"),
    }
    possible = tenants.MOVES[Standing(row.standing)]
    return [link for standing, link in labels.items() if standing in possible]


def move_page(
    request: HttpRequest,
    admin_page: KeptAdmin[Any],
    row: Row,
    *,
    to: Standing,
    title: str | Promise,
    explanation: str | Promise,
    verb: Callable[..., Any],
    argument: str,
    facts: Sequence[tuple[Any, Any]] = (),
) -> HttpResponse:
    """The page on which a tenant or project is suspended, resumed or closed, with the reason."""

    def run(given: dict[str, Any]) -> tuple[str, Row]:
        verb(**{argument: row}, reason=given["reason"], by=signed_in(request), at=timezone.now())
        return gettext("%(name)s: %(standing)s.") % {"name": row, "standing": row.get_standing_display()}, row

    return act_page(
        request,
        admin=admin_page,
        row=row,
        title=title,
        explanation=explanation,
        facts=facts,
        effects=(Effect(_("Standing"), row.get_standing_display(), to.label),),
        form=ReasonForm(request.POST or None),
        button=title,
        danger=to == Standing.CLOSED,
        run=run,
        refusals=REFUSALS,
    )


class RepresentativesOfTenant(HistoryInline[Representative]):
    model = Representative
    fk_name = "tenant"
    fields = ("user", "since_at")
    related = ("user",)
    verbose_name_plural = _("Representatives today")

    def belonging(self, rows: QuerySet[Representative]) -> QuerySet[Representative]:
        return rows.filter(ended_at__isnull=True)


class ProjectsOfTenant(HistoryInline[Project]):
    model = Project
    fk_name = "tenant"
    fields = ("code", "title", "standing")
    verbose_name_plural = _("Projects")


@admin.register(Tenant)
class TenantAdmin(KeptAdmin[Tenant]):
    list_display = ("code", "name", "category", "standing", "projects_in_use", "created_at")
    list_filter = ("standing", "category")
    search_fields = ("code", "name_en", "name_zh_hant", "name_zh_hans", "registration_number")
    search_help_text = _("By code, name in any language, or registration number.")
    fieldsets = (
        (None, {"fields": ("code", "name_en", "name_zh_hant", "name_zh_hans", "category")}),
        (None, {"fields": ("registration_number", "notes")}),
        (_("Where it stands"), {"fields": ("standing", "is_invented", "created_at")}),
    )
    readonly_fields = ("standing", "is_invented", "created_at")
    inlines = (ProjectsOfTenant, RepresentativesOfTenant)
    refusals = REFUSALS

    def get_fieldsets(self, request: HttpRequest, obj: Tenant | None = None) -> Any:
        """Where a tenant stands can only be said of one that exists."""
        return super().get_fieldsets(request, obj) if obj else self.fieldsets[:2]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tenant]:
        projects = Project.objects.filter(tenant=OuterRef("pk")).exclude(standing=Standing.CLOSED).order_by()
        counted = projects.values("tenant").annotate(number=Count("pk")).values("number")
        return super().get_queryset(request).annotate(open_projects=Coalesce(Subquery(counted), 0))

    def get_readonly_fields(self, request: HttpRequest, obj: Tenant | None = None) -> tuple[str, ...]:
        return (*self.readonly_fields, "code") if obj else self.readonly_fields

    @admin.display(description=_("name"), ordering="name_en")
    def name(self, obj: Tenant) -> str:
        return obj.name

    @admin.display(description=_("open projects"), ordering="open_projects")
    def projects_in_use(self, obj: Any) -> int:
        return int(obj.open_projects)

    def add_by_verb(self, obj: Tenant, form: Any, by: User, at: datetime) -> bool:
        tenants.register_tenants(tenants=[obj], by=by, at=at)
        return True

    def change_by_verb(self, obj: Tenant, form: Any, by: User, at: datetime) -> bool:
        stored = Tenant.objects.get(pk=obj.pk)
        described = {name: form.cleaned_data[name] for name in form.changed_data}
        tenants.change_tenant(tenant=stored, by=by, at=at, **described)
        return True

    def acts(self, request: HttpRequest, obj: Tenant) -> list[ActLink]:
        links = moves(request, obj, "centre.change_tenant")
        if request.user.has_perm("centre.add_representative"):
            links.insert(0, ActLink(_("Add a representative"), "../represent/"))
        return links

    def get_urls(self) -> list[URLPattern]:
        acts = [
            ("suspend", self.suspend),
            ("resume", self.resume),
            ("close", self.close),
            ("represent", self.represent),
        ]
        return [*act_urls(self, acts), *super().get_urls()]

    def suspend(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return move_page(
            request,
            self,
            row_of_act(self, request, object_id, "centre.change_tenant"),
            to=Standing.SUSPENDED,
            title=_("Suspend the tenant"),
            explanation=_("The tenant gets no new project. Its projects go on until each is suspended itself."),
            verb=tenants.suspend_tenant,
            argument="tenant",
        )

    def resume(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return move_page(
            request,
            self,
            row_of_act(self, request, object_id, "centre.change_tenant"),
            to=Standing.ACTIVE,
            title=_("Resume the tenant"),
            explanation=_("The tenant can have new projects again."),
            verb=tenants.resume_tenant,
            argument="tenant",
        )

    def close(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = row_of_act(self, request, object_id, "centre.change_tenant")
        return move_page(
            request,
            self,
            row,
            to=Standing.CLOSED,
            title=_("Close the tenant"),
            explanation=_("This is for good. Nothing is deleted; all records stay readable. Close its projects first."),
            verb=tenants.close_tenant,
            argument="tenant",
            facts=((_("Projects that are not closed"), str(row.open_projects)),),
        )

    def represent(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return represent_page(request, self, row_of_act(self, request, object_id, "centre.add_representative"))


class MembersOfProject(HistoryInline[Membership]):
    model = Membership
    fk_name = "project"
    fields = ("user", "role", "since_at")
    related = ("user",)
    verbose_name_plural = _("Members today")

    def belonging(self, rows: QuerySet[Membership]) -> QuerySet[Membership]:
        return rows.current()  # type: ignore[attr-defined,no-any-return]  # the manager's own QuerySet


@admin.register(Project)
class ProjectAdmin(KeptAdmin[Project]):
    list_display = ("code", "title", "tenant_name", "lead", "team", "standing")
    list_select_related = ("tenant",)
    list_filter = ("standing", "tenant__category")
    search_fields = ("code", "title", "tenant__code", "tenant__name_en", "tenant__name_zh_hant", "tenant__name_zh_hans")
    search_help_text = _("By code or title of the project, or by the tenant.")
    autocomplete_fields = ("tenant",)
    fields = ("tenant", "code", "title", "summary")
    readonly_fields = ("standing", "created_at")
    inlines = (MembersOfProject,)
    refusals = REFUSALS

    def get_fields(self, request: HttpRequest, obj: Project | None = None) -> Any:
        return (*self.fields, "standing", "created_at") if obj else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Project | None = None) -> tuple[str, ...]:
        return (*self.readonly_fields, "tenant", "code") if obj else self.readonly_fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Project]:
        current = Membership.objects.current().filter(project=OuterRef("pk")).order_by("since_at")
        leads = current.filter(role=ProjectRole.LEAD)
        counted = current.order_by().values("project").annotate(number=Count("pk")).values("number")
        return (
            super()
            .get_queryset(request)
            .annotate(
                lead_name=Subquery(leads.values("user__name")[:1]),
                lead_email=Subquery(leads.values("user__email")[:1]),
                members_today=Coalesce(Subquery(counted), 0),
            )
        )

    @admin.display(description=_("tenant"), ordering="tenant__code")
    def tenant_name(self, obj: Project) -> str:
        return obj.tenant.name

    @admin.display(description=_("lead"), ordering="lead_name")
    def lead(self, obj: Any) -> str:
        return str(obj.lead_name or obj.lead_email or "–")

    @admin.display(description=_("members"), ordering="members_today")
    def team(self, obj: Any) -> int:
        return int(obj.members_today)

    def add_by_verb(self, obj: Project, form: Any, by: User, at: datetime) -> bool:
        tenants.register_projects(projects=[(obj, None)], by=by, at=at)
        return True

    def change_by_verb(self, obj: Project, form: Any, by: User, at: datetime) -> bool:
        stored = Project.objects.get(pk=obj.pk)
        tenants.change_project(
            project=stored,
            by=by,
            at=at,
            title=form.cleaned_data["title"],
            summary=form.cleaned_data["summary"],
        )
        return True

    def acts(self, request: HttpRequest, obj: Project) -> list[ActLink]:
        links = moves(request, obj, "centre.change_project")
        if obj.standing != Standing.CLOSED and request.user.has_perm("centre.add_membership"):
            links.insert(0, ActLink(_("Add a member"), "../add-member/"))
        return [ActLink(_("The team’s page"), obj.get_absolute_url()), *links]

    def get_urls(self) -> list[URLPattern]:
        acts = [
            ("suspend", self.suspend),
            ("resume", self.resume),
            ("close", self.close),
            ("add-member", self.add_member),
        ]
        return [*act_urls(self, acts), *super().get_urls()]

    def suspend(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return move_page(
            request,
            self,
            row_of_act(self, request, object_id, "centre.change_project"),
            to=Standing.SUSPENDED,
            title=_("Suspend the project"),
            explanation=_("The project stops for a while. Its people keep sight of it; usage is still charged."),
            verb=tenants.suspend_project,
            argument="project",
        )

    def resume(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return move_page(
            request,
            self,
            row_of_act(self, request, object_id, "centre.change_project"),
            to=Standing.ACTIVE,
            title=_("Resume the project"),
            explanation=_("The project goes on."),
            verb=tenants.resume_project,
            argument="project",
        )

    def close(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return move_page(
            request,
            self,
            row_of_act(self, request, object_id, "centre.change_project"),
            to=Standing.CLOSED,
            title=_("Close the project"),
            explanation=_("This is for good. Nothing is deleted; all records stay readable."),
            verb=tenants.close_project,
            argument="project",
        )

    def add_member(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return add_member_page(request, self, row_of_act(self, request, object_id, "centre.add_membership"))
