"""The audit trail, to read. What was done to one object stands on that object's own page, under History."""

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from centre.admin.kept import HistoryAdmin
from centre.admin.telling import act_told, changes_told
from centre.models import Event, User


@admin.register(Event)
class EventAdmin(HistoryAdmin[Event]):
    list_display = ("at", "actor", "act_in_words", "kind", "named", "reason")
    list_select_related = ("actor",)
    list_display_links = ("at",)
    ordering = ("-id",)
    sortable_by = ()
    search_fields = ("actor__email",)
    search_help_text = _("By the name or e-mail address of the person who acted.")
    fields = ("at", "actor", "act_in_words", "kind", "object_id", "named", "reason", "told", "address")
    readonly_fields = ("act_in_words", "kind", "named", "told")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Event], search_term: str
    ) -> tuple[QuerySet[Event], bool]:
        """Through the index on the person who acted; the trail itself is never searched word by word."""
        term = search_term.strip()
        if not term:
            return queryset, False
        people = User.objects.filter(Q(email__icontains=term) | Q(name__icontains=term)).values_list("pk", flat=True)
        return queryset.filter(actor__in=list(people[:100])), False

    @admin.display(description=_("act"))
    def act_in_words(self, obj: Event) -> str:
        return act_told(obj)

    @admin.display(description=_("kind of object"))
    def kind(self, obj: Event) -> str:
        return capfirst(str(apps.get_model(obj.object_type)._meta.verbose_name))

    @admin.display(description=_("object"))
    def named(self, obj: Event) -> str:
        return obj.object_in_words

    @admin.display(description=_("changes"))
    def told(self, obj: Event) -> str:
        lines: list[Any] = changes_told(obj, apps.get_model(obj.object_type))
        return "\n".join(f"{line.label}: {line.before} → {line.after}" for line in lines) or "–"
