"""What a person did last, for the front page of the admin."""

from dataclasses import dataclass
from datetime import datetime

from django.apps import apps
from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.urls import reverse

from centre.admin.telling import act_told
from centre.models import Event, User

SHOWN_ACTS = 10


@dataclass(frozen=True)
class LatestAct:
    """One act of the signed-in person; `url` is empty where the object has no page that they may open."""

    at: datetime
    act: str
    name: str
    url: str


def latest_acts(site: AdminSite, request: HttpRequest, user: User) -> list[LatestAct]:
    """The person's last acts, newest first; one query."""
    return [
        LatestAct(event.at, act_told(event), event.object_in_words, page_of(event, site, request))
        for event in Event.objects.filter(actor=user).order_by("-id")[:SHOWN_ACTS]
    ]


def page_of(event: Event, site: AdminSite, request: HttpRequest) -> str:
    """The address of the admin page of what was acted on, for those who may open it; else nothing."""
    try:
        model = apps.get_model(event.object_type)
    except (LookupError, ValueError):  # a kind of object that the portal no longer has
        return ""
    if not site.is_registered(model) or not site.get_model_admin(model).has_view_permission(request):
        return ""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[event.object_id])
