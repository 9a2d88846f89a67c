"""Letters about GPU time that people were owed: history, to read."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from allocations.models import Notice
from centre.admin.kept import HistoryAdmin


@admin.register(Notice)
class NoticeAdmin(HistoryAdmin[Notice]):
    list_display = ("due_at", "allocation", "user", "told", "sent_at", "cleared_at")
    list_select_related = ("allocation", "user")
    list_filter = ("kind", ("sent_at", admin.EmptyFieldListFilter))
    search_fields = ("allocation__reference", "user__email", "user__name")
    search_help_text = _("By the allocation’s reference, or the person’s name or e-mail address.")
    fields = ("allocation", "user", "kind", "told", "due_at", "sent_at", "cleared_at")
    readonly_fields = ("told",)

    @admin.display(description=_("about"))
    def told(self, obj: Notice) -> str:
        return obj.about
