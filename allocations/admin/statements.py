"""Issued statements: history, to read."""

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from allocations.models import Statement
from centre.admin.kept import HistoryAdmin


@admin.register(Statement)
class StatementAdmin(HistoryAdmin[Statement]):
    list_display = ("number", "project", "month", "issued_at")
    list_select_related = ("project",)
    search_fields = ("project__code", "project__title")
    search_help_text = _("By the project’s code or title.")
    fields = (
        *("number", "project", "month", "page", "issued_at", "issued_by", "as_of", "last_entry", "digest"),
        "content",
    )
    readonly_fields = ("number", "page")

    @admin.display(description=_("page"))
    def page(self, obj: Statement) -> SafeString:
        """The way to what its team sees."""
        url = reverse("statement", args=[obj.project.code, f"{obj.month:%Y-%m}"])
        return format_html('<a href="{}">{}</a>', url, obj.number)

    @admin.display(description=_("number"), ordering="sequence")
    def number(self, obj: Statement) -> str:
        return obj.number
