"""What every request and every page shares."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from centre import audit, permissions
from centre.models import Centre, User


class ActAddressMiddleware:
    """Acts recorded during a request carry the network address that it came from."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with audit.from_address(request.META.get("REMOTE_ADDR") or None):
            return self.get_response(request)


def centre_of(request: HttpRequest) -> Centre | None:
    """The centre's own row, asked of the database once per request; none before the centre is set up."""
    kept = vars(request)
    if "portal_centre" not in kept:
        kept["portal_centre"] = Centre.objects.first()
    centre: Centre | None = kept["portal_centre"]
    return centre


def shows_invented_data(request: HttpRequest) -> bool:
    """Whether the page says that what it shows is invented."""
    centre = centre_of(request)
    return centre is not None and centre.is_demo


def portal(request: HttpRequest) -> dict[str, Any]:
    """What the page frame shows: whose portal it is, and which sections this person may open."""
    frame = {
        "centre": SimpleLazyObject(partial(centre_of, request)),
        "demo": SimpleLazyObject(partial(shows_invented_data, request)),
    }
    user = getattr(request, "user", None)
    if not isinstance(user, User):
        return frame | {"may_administer": False, "may_read_reports": False}
    return frame | {
        "may_administer": user.is_staff,
        "may_read_reports": permissions.reads_reports(user.staff_roles),
    }


def signed_in(request: HttpRequest) -> User:
    """The signed-in person of a page that LoginRequiredMiddleware guards."""
    assert isinstance(request.user, User)  # noqa: S101  the middleware has turned everybody else away
    return request.user
