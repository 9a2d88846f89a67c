"""The portal's own admin site: whoever is not centre staff does not learn that it exists."""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from django.conf import settings
from django.contrib.admin import AdminSite
from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.contrib.auth.views import redirect_to_login
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, URLResolver, reverse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy as _

from centre import registry
from centre.http import signed_in

# The index by the work that people come for. Models that are not named here stand under the name of their app.
GROUPS: tuple[tuple[str, Any, str], ...] = (
    (
        "tenants",
        _("Tenants and people"),
        "centre.tenant centre.project centre.membership centre.representative centre.user centre.clusteruser "
        "centre.invitation allocations.onboardingupload",
    ),
    (
        "gpu-time",
        _("GPU time"),
        "allocations.allocation allocations.changerequest allocations.ledgerentry allocations.drawingaccount",
    ),
    (
        "unused-time",
        _("Hours that are not used"),
        "allocations.periodendrule allocations.takebackrule allocations.takebackwarning allocations.takebackexemption",
    ),
    (
        "usage",
        _("Usage"),
        "allocations.jobrun allocations.usageimport allocations.quarantinedrecord allocations.importtoken",
    ),
    (
        "scheme",
        _("Subsidy scheme"),
        "subsidies.application subsidies.decision subsidies.award subsidies.subsidyproject subsidies.scheme "
        "subsidies.fundentry",
    ),
    ("machines", _("Machines and prices"), "centre.gpupool centre.outage centre.cluster centre.site"),
    ("centre", _("Centre and staff"), "centre.appointment centre.centre"),
    (
        "records",
        _("Record keeping"),
        "centre.event centre.letter allocations.notice allocations.statement",
    ),
)
# What a list is called in the index, where its own name would say too little among the others.
NAMES: dict[str, Any] = {
    "centre.membership": _("Members of projects"),
    "centre.representative": _("Representatives of tenants"),
    "centre.clusteruser": _("User names on clusters"),
    "centre.appointment": _("Staff roles"),
    "centre.centre": _("Name and rules of the centre"),
    "centre.event": _("Audit trail"),
    "centre.letter": _("Letters that were sent"),
    "allocations.notice": _("Notices to teams"),
    "allocations.statement": _("Statements"),
}
# Pages that are no list of a model: group, name, address, and the permission of who may look.
PAGES: tuple[tuple[str, Any, str, str], ...] = (
    (
        "tenants",
        _("Bring in from a spreadsheet"),
        "admin:allocations_onboardingupload_add",
        "allocations.add_onboardingupload",
    ),
    ("usage", _("Usage without an allocation"), "admin:allocations_unmatched", "allocations.view_jobrun"),
    ("usage", _("Import health"), "admin:allocations_import_health", "allocations.view_usageimport"),
    ("machines", _("Capacity board"), "capacity", "allocations.view_capacityboard"),
)
NOT_OURS = {
    "password_change_done",
    "view_on_site",
}  # passwords are changed under /accounts/; pages name their own links


class Found(AutocompleteJsonView):
    """What a search box offers, each in the words of its own list."""

    def serialize_result(self, obj: models.Model, to_field_name: str) -> dict[str, str]:
        result: dict[str, str] = super().serialize_result(obj, to_field_name)
        site: Any = self.admin_site
        told = getattr(site.get_model_admin(type(obj)), "told_in_search", str)
        return {**result, "text": str(told(obj))}


class PortalAdminSite(AdminSite):
    site_title = _("Centre administration")
    site_header = _("Supercomputing centre")
    index_title = _("Administration")
    site_url = "/"
    enable_nav_sidebar = False  # lists take the width; every page leads back to the index

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self.disable_action("delete_selected")

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Any:
        """Any page of the site: someone signed in who is not staff gets the answer of a page that does not exist."""
        guarded = super().admin_view(view, cacheable)

        def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            if request.user.is_authenticated and not self.has_permission(request):
                raise Http404
            return guarded(request, *args, **kwargs)

        return update_wrapper(inner, view)

    def autocomplete_view(self, request: HttpRequest) -> Any:
        return Found.as_view(admin_site=self)(request)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Django's, with one sign-in for everybody: the portal's."""
        urls = [url for url in super().get_urls() if getattr(url, "name", None) not in NOT_OURS]
        for url in urls:
            if isinstance(url, URLPattern) and hasattr(url.callback, "login_url"):
                url.callback.login_url = settings.LOGIN_URL
        return urls

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """There is one sign-in for everybody; who is signed in and not staff gets the answer of no page."""
        if self.has_permission(request):
            return redirect("admin:index")
        if request.user.is_authenticated:
            raise Http404
        return redirect_to_login(request.get_full_path())

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Django's; the list of everything, which only the index and an app's page show, is made when it is asked for.

        Making it takes longer than reading the rows of a list does.
        """
        return {
            "site_title": self.site_title,
            "site_header": self.site_header,
            "site_url": self.site_url,
            "has_permission": self.has_permission(request),
            "available_apps": SimpleLazyObject(lambda: self.get_app_list(request)),
            "is_popup": False,
            "is_nav_sidebar_enabled": self.enable_nav_sidebar,
            "log_entries": self.get_log_entries(request),
        }

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Django's, with what waits for this person before it and what they did last after it."""
        from centre.admin.latest import latest_acts  # noqa: PLC0415  the admin's pages need this site to exist first

        user, now = signed_in(request), timezone.now()
        waiting = registry.waits_for(user, now)
        context = {"latest_acts": latest_acts(self, request, user), "desk": waiting, "now": now}
        return super().index(request, {**context, **(extra_context or {})})

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Passwords are changed in one place, for staff as for everybody."""
        return redirect("account_change_password")

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """What this person may see, grouped by the work they do; an app's own page (`app_label`) stays Django's."""
        apps = super().get_app_list(request, app_label)
        if app_label is not None:
            return apps
        left = {f"{app['app_label']}.{model['object_name'].lower()}": model for app in apps for model in app["models"]}
        groups: list[Any] = []
        for key, name, labels in GROUPS:
            models = [
                {**left.pop(label), **({"name": NAMES[label]} if label in NAMES else {})}
                for label in labels.split()
                if label in left
            ]
            models += [
                {"name": title, "object_name": page.rpartition(":")[2], "admin_url": reverse(page), "add_url": None}
                for group, title, page, permission in PAGES
                if group == key and request.user.has_perm(permission)
            ]
            if models:
                groups.append(
                    {"name": name, "app_label": key, "app_url": "", "has_module_perms": True, "models": models}
                )
        for app in apps:
            models = [model for model in app["models"] if any(model is other for other in left.values())]
            if models:
                groups.append({**app, "app_url": "", "models": models})
        return groups
