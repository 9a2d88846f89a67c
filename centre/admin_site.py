"""The portal's own admin site: whoever is not centre staff does not learn that it exists."""

from typing import Any

from django.contrib.admin import AdminSite
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _


class PortalAdminSite(AdminSite):
    site_title = _("Centre administration")
    site_header = _("Supercomputing centre")
    index_title = _("Administration")
    site_url = "/"

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:  # noqa: ARG002
        """There is one sign-in for everybody; someone signed in who is not staff gets the same answer as for no page."""
        from django.contrib.auth.views import redirect_to_login

        if request.user.is_authenticated:
            raise Http404
        return redirect_to_login(request.get_full_path())
