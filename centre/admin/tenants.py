"""Tenants: who they are, whom the centre speaks to there, where they stand, and what belongs to them."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.functional import Promise, lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from centre import contacts, registry, tenants
from centre.admin.acts import act_urls, page_of, row_of_act
from centre.admin.belonging import represent_page
from centre.admin.finding_tenants import AgreementFilter, found_among
from centre.admin.kept import ActLink, HistoryInline, KeptAdmin, KeptInline
from centre.admin.merging import merge_page
from centre.admin.standing import REFUSALS, move_page, moves
from centre.merging_tenants import merged_in_words
from centre.models import Membership, Project, Representative, Tenant, TenantContact, User
from centre.models.tenants import Standing
from centre.permissions import ProjectRole
from centre.row_numbers import is_row_number


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
    fields = ("code", "title", "standing", "lead")
    readonly_fields = ("lead",)
    list_filter = "tenant__id__exact"
    verbose_name_plural = _("Projects")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Project]:
        leads = Membership.objects.current().filter(project=OuterRef("pk"), role=ProjectRole.LEAD).order_by("since_at")
        rows = super().get_queryset(request)
        return rows.annotate(
            lead_name=Subquery(leads.values("user__name")[:1]), lead_email=Subquery(leads.values("user__email")[:1])
        )

    @admin.display(description=_("lead"))
    def lead(self, obj: Any) -> str:
        return str(obj.lead_name or obj.lead_email or "–")


class MergedIntoTenant(HistoryInline[Tenant]):
    """Records that were merged into this one; their codes lead here."""

    model = Tenant
    fk_name = "merged_into"
    fields = ("code", "name_en", "registration_number")
    verbose_name_plural = _("Records merged into this one")


class ContactForm(forms.ModelForm[TenantContact]):
    ends = forms.BooleanField(label=_("Ends"), required=False)

    class Meta:
        model = TenantContact
        fields = ("name", "role", "email", "phone")


class ContactsOfTenant(KeptInline[TenantContact]):
    """Whom the centre speaks to now. Who could change the tenant can change them."""

    model = TenantContact
    form = ContactForm
    fk_name = "tenant"
    fields = ("name", "role", "email", "phone", "ends")
    fact = "contact"
    shown = 50
    ordering = ("id",)
    verbose_name_plural = _("Contacts today")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("centre.view_tenant")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("centre.change_tenant") and (obj is None or may_be_changed(request, obj))

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Whoever only reads is not shown the box that ends a contact."""
        may = self.has_change_permission(request, obj)
        return [name for name in self.fields if may or name != "ends"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[TenantContact]:
        """While the page is looked at, those of today; what is sent may name one that was ended meanwhile."""
        rows = TenantContact.objects.order_by("id")
        page = request.resolver_match
        if page is None or "object_id" not in page.kwargs or not str(page.kwargs["object_id"]).isdigit():
            return rows.none()
        rows = rows.filter(tenant=page.kwargs["object_id"])
        return rows if request.method == "POST" else self.shown_rows(rows)

    def shown_rows(self, rows: QuerySet[TenantContact]) -> QuerySet[TenantContact]:
        first = rows.filter(ended_at__isnull=True).values_list("pk", flat=True)[: self.shown]
        return TenantContact.objects.filter(pk__in=list(first)).order_by("id")


class EarlierContacts(HistoryInline[TenantContact]):
    model = TenantContact
    fk_name = "tenant"
    fields = ("name", "role", "email", "phone", "since_at", "ended_at")
    readonly_fields = ("since_at", "ended_at")
    verbose_name_plural = _("Earlier contacts")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("centre.view_tenant")

    def belonging(self, rows: QuerySet[TenantContact]) -> QuerySet[TenantContact]:
        return rows.filter(ended_at__isnull=False).order_by("-ended_at", "-id")


def told_apart(tenant: Tenant) -> str:
    """Name, code, registration number and, where it is not active, standing: there may be two of one name."""
    parts = [f"{tenant.name} ({tenant.code})", tenant.registration_number]
    if tenant.standing != Standing.ACTIVE:
        parts.append(tenant.get_standing_display())
    return " · ".join(part for part in parts if part)


def may_be_changed(request: HttpRequest, tenant: Tenant) -> bool:
    """A merged record is only read. What was typed before it was merged is answered by the verb, and so not lost."""
    return tenant.merged_into_id is None or request.method == "POST"


def shown_column(column: registry.ListColumn) -> Any:
    """What an upper app adds to the list, as Django's list wants it."""

    @admin.display(description=lazy(str, str)(column.title), ordering=column.name)
    def hours(obj: Tenant) -> str:
        return column.shown(getattr(obj, column.name))

    return hours


@admin.register(Tenant)
class TenantAdmin(KeptAdmin[Tenant]):
    list_display = ("code", "name", "category", "stands", "projects_in_use", "agreement_until_on")
    list_select_related = ("merged_into",)
    list_filter = ("standing", "category", AgreementFilter)
    search_fields = ("code", "name_en", "name_zh_hant", "name_zh_hans", "registration_number")
    search_help_text = _(
        "By code, name in any language, registration number, a contact’s name or address, or a project’s code."
    )
    fieldsets = (
        (None, {"fields": ("code", "name_en", "name_zh_hant", "name_zh_hans", "category", "registration_number")}),
        (_("Agreement"), {"fields": ("agreement_from_on", "agreement_until_on")}),
        (_("Notes of the centre"), {"fields": ("notes",)}),
        (_("Where it stands"), {"fields": ("standing", "people", "is_invented", "created_at")}),
    )
    readonly_fields = ("standing", "people", "is_invented", "created_at")
    inlines = (ContactsOfTenant, ProjectsOfTenant, RepresentativesOfTenant, EarlierContacts)
    refusals = REFUSALS
    also_compared = ("standing", "merged_into")

    # ------------------------------------------------------------------------------------------ the list

    def get_list_display(self, request: HttpRequest) -> Any:
        columns = [column for column in registry.tenant_columns if request.user.has_perm(column.permission)]
        return [*self.list_display, *(shown_column(column) for column in columns)]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tenant]:
        projects = Project.objects.filter(tenant=OuterRef("pk")).exclude(standing=Standing.CLOSED).order_by()
        counted = projects.values("tenant").annotate(number=Count("pk")).values("number")
        rows = super().get_queryset(request).select_related("merged_into")
        rows = rows.annotate(open_projects=Coalesce(Subquery(counted), 0))
        return rows.annotate(**{column.name: column.value() for column in registry.tenant_columns})

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Tenant], search_term: str
    ) -> tuple[QuerySet[Tenant], bool]:
        """The list's search, and the search box of a merge: there no other merged record, nor the record itself."""
        found, gone = found_among(queryset, search_term), request.GET.get("merging", "")
        if is_row_number(gone):
            found = found.filter(merged_into__isnull=True).exclude(pk=gone)
        return found, False

    def told_in_search(self, obj: Tenant) -> str:
        return told_apart(obj)

    @admin.display(description=_("name"), ordering="name_en")
    def name(self, obj: Tenant) -> str:
        return obj.name

    @admin.display(description=_("standing"), ordering="standing")
    def stands(self, obj: Tenant) -> str | Promise:
        if obj.merged_into is None:
            return obj.get_standing_display()
        return gettext("Merged into %(code)s") % {"code": obj.merged_into.code}

    @admin.display(description=_("open projects"), ordering="open_projects")
    def projects_in_use(self, obj: Any) -> int:
        return int(obj.open_projects)

    # ------------------------------------------------------------------------------------------ the page

    def get_fieldsets(self, request: HttpRequest, obj: Tenant | None = None) -> Any:
        """Where a tenant stands can only be said of one that exists."""
        return super().get_fieldsets(request, obj) if obj else self.fieldsets[:-1]

    def get_readonly_fields(self, request: HttpRequest, obj: Tenant | None = None) -> tuple[str, ...]:
        return (*self.readonly_fields, "code") if obj else self.readonly_fields

    def get_inlines(self, request: HttpRequest, obj: Tenant | None) -> Any:
        """What there is none of is left out, but for contacts and projects, which every tenant should have."""
        shown = list(super().get_inlines(request, obj))
        if obj is not None:
            if not TenantContact.objects.filter(tenant=obj, ended_at__isnull=False).exists():
                shown.remove(EarlierContacts)
            if Tenant.objects.filter(merged_into=obj).exists():
                shown.append(MergedIntoTenant)
        return shown

    def has_change_permission(self, request: HttpRequest, obj: Tenant | None = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or may_be_changed(request, obj))

    @admin.display(description=_("people"))
    def people(self, obj: Tenant) -> str:
        """Asked once, on the tenant's own page."""
        count = Membership.objects.current().filter(project__tenant=obj).values("user").distinct().count()
        return gettext("Members of its projects today: %(count)s") % {"count": count}

    def note_above(self, obj: Tenant) -> registry.Link | None:
        """A record that was merged says so, and leads on."""
        if obj.merged_into is not None:
            return registry.Link(merged_in_words(obj), page_of(obj.merged_into), _("Open the record that goes on"))
        return None

    def acts(self, request: HttpRequest, obj: Tenant) -> list[ActLink]:
        links = moves(request, obj, "centre.change_tenant")
        if obj.standing != Standing.CLOSED and request.user.has_perm("centre.add_representative"):
            links.insert(0, ActLink(_("Add a representative"), "../represent/"))
        if obj.merged_into is None and request.user.has_perm("centre.change_tenant"):
            links.append(ActLink(_("Merge into another record"), "../merge/"))
        return links

    # ------------------------------------------------------------------------------------------ saving

    def add_by_verb(self, obj: Tenant, form: Any, by: User, at: datetime) -> bool:
        tenants.register_tenants(tenants=[obj], by=by, at=at)
        return True

    def change_by_verb(self, obj: Tenant, form: Any, by: User, at: datetime) -> bool:
        stored = Tenant.objects.select_related("merged_into").get(pk=obj.pk)
        described = {name: form.cleaned_data[name] for name in form.changed_data}
        tenants.change_tenant(tenant=stored, by=by, at=at, **described)
        return True

    def response_post_save_add(self, request: HttpRequest, obj: Tenant) -> HttpResponseRedirect:
        """On to the tenant's page, where its contacts and representatives are added."""
        return HttpResponseRedirect(page_of(obj))

    def save_below(self, formset: Any, by: User, at: datetime) -> bool:
        """Contacts begin, change and end by their verbs."""
        if formset.model is not TenantContact:
            return False
        for row in formset.forms:
            if not row.has_changed():
                continue
            described = {name: row.cleaned_data[name] for name in contacts.DESCRIBED}
            if row.instance.pk is None and row.cleaned_data.get("id"):
                raise contacts.NotHere(
                    _("%(name)s is no contact that can be changed on this page.") % {"name": described["name"]}
                )
            if row.instance.pk is None:
                contacts.add_contact(tenant=formset.instance, by=by, at=at, **described)
                continue
            if set(row.changed_data) - {"ends"}:
                contacts.change_contact(contact=row.instance, by=by, at=at, **described)
            if row.cleaned_data["ends"]:
                contacts.end_contact(contact=row.instance, by=by, at=at)
        return True

    # ------------------------------------------------------------------------------------------ acts

    def get_urls(self) -> list[URLPattern]:
        acts = [
            ("suspend", self.suspend),
            ("resume", self.resume),
            ("close", self.close),
            ("represent", self.represent),
            ("merge", self.merge),
        ]
        return [*act_urls(self, acts), *super().get_urls()]

    def suspend(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return move_page(
            request,
            self,
            row_of_act(self, request, object_id, "centre.change_tenant"),
            to=Standing.SUSPENDED,
            title=_("Suspend the tenant"),
            explanation=_(
                "Until it is resumed, the tenant gets no new project and no new job of its projects starts. Jobs that "
                "run go on and are charged; allocations stay open. The portal writes to nobody: tell the teams "
                "yourself."
            ),
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
            explanation=_(
                "The tenant can have new projects again, and new jobs start where project and allocation allow it."
            ),
            verb=tenants.resume_tenant,
            argument="tenant",
        )

    def close(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return move_page(
            request,
            self,
            row_of_act(self, request, object_id, "centre.change_tenant"),
            to=Standing.CLOSED,
            title=_("Close the tenant"),
            explanation=_("This is for good. Nothing is deleted; all records stay readable. Close its projects first."),
            verb=tenants.close_tenant,
            argument="tenant",
        )

    def represent(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return represent_page(request, self, row_of_act(self, request, object_id, "centre.add_representative"))

    def merge(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return merge_page(request, self, row_of_act(self, request, object_id, "centre.change_tenant"))
