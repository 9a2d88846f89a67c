"""How officers find one tenant among thousands: one search over all that a tenant is known by, and a filter."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.text import smart_split, unescape_string_literal
from django.utils.translation import gettext_lazy as _

from centre.models import Project, Tenant, TenantContact

SOON = timedelta(days=90)


def found_among(rows: QuerySet[Tenant], words: str) -> QuerySet[Tenant]:
    """The tenants of which every word is part of a name, code, registration number, contact, or project's code.

    A record that was merged into another is found by its own, and the other by its code. Subqueries and no joins: a
    tenant with many projects and contacts is still one row.
    """
    for word in smart_split(words):
        rows = rows.filter(
            known_by(unescape_string_literal(word) if word[0] in "\"'" and word[0] == word[-1] else word)
        )
    return rows


def known_by(word: str) -> Q:
    contacts = TenantContact.objects.current().filter(Q(name__icontains=word) | Q(email__icontains=word))
    return (
        Q(code__icontains=word)
        | Q(name_en__icontains=word)
        | Q(name_zh_hant__icontains=word)
        | Q(name_zh_hans__icontains=word)
        | Q(registration_number__icontains=word)
        | Q(pk__in=contacts.values("tenant"))
        | Q(pk__in=Project.objects.filter(code__icontains=word).values("tenant"))
        | Q(pk__in=Tenant.objects.filter(code__icontains=word, merged_into__isnull=False).values("merged_into"))
    )


class AgreementFilter(admin.SimpleListFilter):
    """By the last day of the agreement."""

    title = _("agreement")
    parameter_name = "agreement"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("soon", _("Ends within 90 days")),
            ("over", _("Has ended")),
            ("running", _("Runs longer, or without an end")),
            ("none", _("No agreement noted")),
        ]

    def queryset(self, request: Any, queryset: QuerySet[Tenant]) -> QuerySet[Tenant]:
        today = timezone.localdate()
        none = Q(agreement_from_on__isnull=True, agreement_until_on__isnull=True)
        chosen = {
            "soon": Q(agreement_until_on__range=(today, today + SOON)),
            "over": Q(agreement_until_on__lt=today),
            "running": ~none & (Q(agreement_until_on__isnull=True) | Q(agreement_until_on__gt=today + SOON)),
            "none": none,
        }
        value = self.value() or ""
        return queryset.filter(chosen[value]) if value in chosen else queryset
