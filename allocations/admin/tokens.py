"""Import tokens of collectors: an administrator makes one, sees its secret once, and revokes it."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from allocations.importing import tokens
from allocations.models import ImportToken
from centre.admin.acts import act_page, act_urls, row_of_act
from centre.admin.choosing import ReasonForm, chosen
from centre.admin.kept import ActLink, HistoryAdmin
from centre.http import signed_in
from centre.templatetags.portal import written_instant

MAY_MAKE = "allocations.add_importtoken"
MAY_REVOKE = "allocations.revoke_importtoken"


class MakingForm(forms.Form):
    """Whose usage is handed over, and from where."""

    cluster = chosen(ImportToken, "cluster")
    label = forms.CharField(
        label=_("Where it is used"),
        max_length=80,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text=_("The machine on which the collector runs, such as “login1”."),
    )


class StandingFilter(admin.SimpleListFilter):
    title = _("standing")
    parameter_name = "standing"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [("accepted", _("Accepted")), ("revoked", _("Revoked"))]

    def queryset(self, request: Any, queryset: QuerySet[ImportToken]) -> QuerySet[ImportToken]:
        if self.value() not in {"accepted", "revoked"}:
            return queryset
        return queryset.filter(revoked_at__isnull=self.value() == "accepted")


@admin.register(ImportToken)
class ImportTokenAdmin(HistoryAdmin[ImportToken]):
    list_display = ("label", "cluster", "begins_with", "standing", "last_used_at", "made_by", "made_at")
    list_select_related = ("cluster", "made_by")
    list_filter = (StandingFilter, "cluster")
    search_fields = ("label", "prefix")
    search_help_text = _("By where it is used, or how it begins.")
    ordering = ("-id",)
    fields = (
        *("label", "cluster", "begins_with", "standing", "last_used_at"),
        *("made_by", "made_at", "revoked_by", "revoked_at"),
    )
    readonly_fields = ("begins_with", "standing")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ImportToken]:
        return super().get_queryset(request).select_related("cluster", "made_by", "revoked_by")

    @admin.display(description=_("begins with"), ordering="prefix")
    def begins_with(self, obj: ImportToken) -> str:
        return f"{obj.prefix}…"

    @admin.display(description=_("standing"), ordering="revoked_at")
    def standing(self, obj: ImportToken) -> str:
        return gettext("Accepted") if obj.revoked_at is None else gettext("Revoked")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(MAY_MAKE)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Make a token. Its secret stands on the answer to the form and nowhere else: no message, session or log."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        made: list[tuple[ImportToken, str]] = []

        def run(given: dict[str, Any]) -> tuple[str, ImportToken]:
            made.append(tokens.make_token(**given, by=signed_in(request), at=timezone.now()))
            return gettext("The token was made."), made[0][0]

        answer = act_page(
            request,
            admin=self,
            row=None,
            title=_("Make an import token"),
            explanation=_(
                "With it a collector hands over the usage of one cluster, and sees what became of it; nothing else. "
                "The secret is shown once, on the next page."
            ),
            form=MakingForm(request.POST or None),
            button=_("Make the token"),
            run=run,
            refusals=(tokens.TokenError,),
            with_key=True,
        )
        return self.secret_page(request, *made[0]) if made else answer

    def secret_page(self, request: HttpRequest, token: ImportToken, secret: str) -> HttpResponse:
        """The one page that shows the secret, and what to do with it."""
        context = {
            **self.admin_site.each_context(request),
            "title": _("The import token"),
            "opts": self.opts,
            "token": token,
            "secret": secret,
            "portal_url": settings.PUBLIC_URL,
            "token_url": reverse("admin:allocations_importtoken_change", args=[token.pk]),
        }
        request.current_app = self.admin_site.name  # read by the {% url %} tag
        answer = TemplateResponse(request, "admin/allocations/token_made.html", context)
        add_never_cache_headers(answer)
        return answer

    def acts(self, request: HttpRequest, obj: ImportToken) -> list[ActLink]:
        if obj.revoked_at is not None or not request.user.has_perm(MAY_REVOKE):
            return []
        return [ActLink(_("Revoke"), "../revoke/")]

    def get_urls(self) -> list[URLPattern]:
        return [*act_urls(self, [("revoke", self.revoke)]), *super().get_urls()]

    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row: ImportToken = row_of_act(self, request, object_id, MAY_REVOKE)

        def run(given: dict[str, Any]) -> tuple[str, ImportToken]:
            tokens.revoke_token(token=row, by=signed_in(request), at=timezone.now(), **given)
            return gettext("The token is no longer accepted."), row

        return act_page(
            request,
            admin=self,
            row=row,
            title=_("Revoke the token"),
            explanation=_(
                "From the next request on nothing is accepted with it, and it cannot be given back. What was handed "
                "over with it stays."
            ),
            facts=(
                (_("Cluster"), str(row.cluster)),
                (_("Where it is used"), row.label),
                (_("Begins with"), f"{row.prefix}…"),
                (_("Last used"), written_instant(row.last_used_at) if row.last_used_at else gettext("never")),
            ),
            form=ReasonForm(request.POST or None),
            button=_("Revoke the token"),
            danger=True,
            run=run,
            refusals=(tokens.TokenError,),
        )
