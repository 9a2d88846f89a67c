"""Letters about GPU time that people were owed: history, to read."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from allocations.models import Notice
from centre.admin.kept import HistoryAdmin


class ProgressFilter(admin.SimpleListFilter):
    """Still to be told, told, or not true any more."""

    title = _("progress")
    parameter_name = "progress"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [("waiting", _("Still to be sent")), ("sent", _("Sent")), ("over", _("Over"))]

    def queryset(self, request: Any, queryset: QuerySet[Notice]) -> QuerySet[Notice]:
        match self.value():
            case "waiting":
                return queryset.filter(cleared_at__isnull=True, sent_at__isnull=True)
            case "sent":
                return queryset.filter(sent_at__isnull=False)
            case "over":
                return queryset.filter(cleared_at__isnull=False)
        return queryset


@admin.register(Notice)
class NoticeAdmin(HistoryAdmin[Notice]):
    list_display = ("due_at", "allocation", "user", "told", "sent_at", "cleared_at")
    list_select_related = ("allocation", "user")
    list_filter = (ProgressFilter, "kind")
    search_fields = ("allocation__reference", "user__email", "user__name")
    search_help_text = _("By the allocation’s reference, or the person’s name or e-mail address.")
    fields = ("allocation", "user", "kind", "told", "due_at", "sent_at", "cleared_at")
    readonly_fields = ("told",)

    @admin.display(description=_("about"))
    def told(self, obj: Notice) -> str:
        return obj.about
