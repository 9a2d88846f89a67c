"""The list of requests: by what it is narrowed."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from allocations import requests
from allocations.models import ChangeRequest
from centre.http import signed_in

State = ChangeRequest.State
ALL = "all"


class StateFilter(admin.SimpleListFilter):
    """What waits, unless something else is asked for; who searches means answered ones, too."""

    title = _("state")
    parameter_name = "state"

    def __init__(self, request: Any, params: Any, model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        self.usual = ALL if request.GET.get(SEARCH_VAR, "").strip() else str(State.ASKED)

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        waiting, *answered = State.choices
        return [waiting, (ALL, _("All")), *answered]

    def chosen(self) -> str:
        value = self.value()
        return value if value in dict(self.lookup_choices) else self.usual

    def choices(self, changelist: Any) -> Any:
        for value, label in self.lookup_choices:
            yield {
                "selected": self.chosen() == str(value),
                "query_string": changelist.get_query_string({self.parameter_name: value}),
                "display": label,
            }

    def queryset(self, request: Any, queryset: QuerySet[ChangeRequest]) -> QuerySet[ChangeRequest]:
        return queryset if self.chosen() == ALL else queryset.filter(state=self.chosen())


class WaitsFilter(admin.SimpleListFilter):
    title = _("whose turn it is")
    parameter_name = "waits"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [("me", _("Mine")), ("another", _("Another officer’s"))]

    def queryset(self, request: Any, queryset: QuerySet[ChangeRequest]) -> QuerySet[ChangeRequest]:
        """What waits and was asked by somebody else, for a project to which one does not belong; or the others."""
        if self.value() not in {"me", "another"}:
            return queryset
        waiting = ChangeRequest.objects.waiting()
        kinds = requests.answers(signed_in(request))
        for_me = waiting.answerable_by(request.user).filter(kind__in=kinds) if kinds else waiting.none()
        if self.value() == "me":
            return queryset.filter(pk__in=for_me.order_by().values("pk"))
        return queryset.filter(state=ChangeRequest.State.ASKED).exclude(pk__in=for_me.order_by().values("pk"))


class AskedByFilter(admin.SimpleListFilter):
    title = _("who asked")
    parameter_name = "asked_by"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [("me", _("I did"))]

    def queryset(self, request: Any, queryset: QuerySet[ChangeRequest]) -> QuerySet[ChangeRequest]:
        return queryset.filter(asked_by=request.user) if self.value() == "me" else queryset
