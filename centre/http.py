"""What every request and every page shares."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse

from centre import audit, permissions
from centre.models import User


class ActAddressMiddleware:
    """Acts recorded during a request carry the network address that it came from."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with audit.from_address(request.META.get("REMOTE_ADDR") or None):
            return self.get_response(request)


def portal(request: HttpRequest) -> dict[str, Any]:
    """What the page frame shows: which sections this person may open."""
    user = getattr(request, "user", None)
    if not isinstance(user, User):
        return {"may_administer": False, "may_read_reports": False}
    return {
        "may_administer": user.is_staff,
        "may_read_reports": permissions.reads_reports(user.staff_roles),
    }


def signed_in(request: HttpRequest) -> User:
    """The signed-in person of a page that LoginRequiredMiddleware guards."""
    assert isinstance(request.user, User)  # noqa: S101  the middleware has turned everybody else away
    return request.user
