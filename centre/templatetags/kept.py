"""What a page of the administration shows of a field that is only read."""

from typing import Any

from django import template
from django.contrib.admin.helpers import AdminReadonlyField
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.template import Context
from django.utils.safestring import SafeString

register = template.Library()


def row_behind(field: AdminReadonlyField) -> models.Model | None:
    """The row that a read-only field points at, where it points at one."""
    page: Any = field
    name, row = page.field["field"], page.form.instance
    if not isinstance(name, str):
        return None
    try:
        column = row._meta.get_field(name)
    except FieldDoesNotExist:
        return None
    return getattr(row, name, None) if isinstance(column, models.ForeignKey) else None


@register.simple_tag(takes_context=True)
def read_value(context: Context, field: AdminReadonlyField) -> str | SafeString:
    """What the field shows. A row of another list is a link for those who may open it, and its name for the others.

    Django links it for everybody: the others would follow the link to a refusal.
    """
    page: Any = field
    row, site = row_behind(field), page.model_admin.admin_site
    pages = site.get_model_admin(type(row)) if row is not None and site.is_registered(type(row)) else None
    if pages is not None and not pages.has_view_permission(context["request"], row):
        return str(row)
    contents: SafeString = page.contents()
    return contents
