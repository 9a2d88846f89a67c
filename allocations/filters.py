"""What lists of projects can be narrowed by."""

import django_filters
from django import forms
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from centre.models import Project
from centre.models.tenants import Standing


class ProjectFilter(django_filters.FilterSet):
    text = django_filters.CharFilter(
        method="with_text", label=_("Search"), widget=forms.TextInput(attrs={"type": "search"})
    )
    standing = django_filters.ChoiceFilter(choices=Standing.choices, label=_("Standing"), empty_label=_("All"))

    class Meta:
        model = Project
        fields = ("text", "standing")

    def with_text(self, projects: QuerySet[Project], name: str, text: str) -> QuerySet[Project]:
        """Projects whose code, title or tenant (in any of its languages) has the text in it."""
        return projects.filter(
            Q(code__icontains=text)
            | Q(title__icontains=text)
            | Q(tenant__name_en__icontains=text)
            | Q(tenant__name_zh_hant__icontains=text)
            | Q(tenant__name_zh_hans__icontains=text)
        )
