"""Projects: the teams of tenants, where they stand, and who belongs to them."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils.translation import gettext_lazy as _

from centre import tenants
from centre.admin.acts import act_urls, row_of_act
from centre.admin.belonging import add_member_page
from centre.admin.kept import ActLink, HistoryInline, KeptAdmin
from centre.admin.standing import REFUSALS, move_page, moves
from centre.models import Membership, Project, User
from centre.models.tenants import Standing
from centre.permissions import ProjectRole


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
    linked = ("tenant",)
    search_fields = ("code", "title", "tenant__code", "tenant__name_en", "tenant__name_zh_hant", "tenant__name_zh_hans")
    search_help_text = _("By code or title of the project, or by the tenant.")
    autocomplete_fields = ("tenant",)
    fields = ("tenant", "code", "title", "summary")
    readonly_fields = ("standing", "created_at")
    inlines = (MembersOfProject,)
    refusals = REFUSALS
    also_compared = ("standing", "tenant")

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
            explanation=_(
                "Until it is resumed, no new job of the project starts. Jobs that run go on and are charged; "
                "allocations stay open, and its people keep sight of it. The portal writes to nobody: tell the team "
                "yourself."
            ),
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
            explanation=_("The project goes on: new jobs start where its tenant and its allocations allow it."),
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
            explanation=_(
                "This is for good. Nothing is deleted; all records stay readable. Nothing below ends by itself: see "
                "what is still going on and deal with it first where you have to."
            ),
            verb=tenants.close_project,
            argument="project",
        )

    def add_member(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return add_member_page(request, self, row_of_act(self, request, object_id, "centre.add_membership"))
