"""The lists on a project's subsidy page."""

import django_tables2 as tables
from django.utils.translation import gettext_lazy as _

from centre.tables import BadgeColumn, DayColumn, HoursColumn, MoneyColumn, Table


class HoursTable(Table):
    """GPU time of an award, per pool."""

    title = _("GPU-hours of the award")
    pool = tables.Column(verbose_name=_("GPU pool"))
    granted = HoursColumn(verbose_name=_("Granted by the award (GPU-hours)"))
    used = HoursColumn(verbose_name=_("Used so far (GPU-hours)"))
    list_price = MoneyColumn(verbose_name=_("List price of a GPU-hour today"), places=2, default="–")
    list_value = MoneyColumn(verbose_name=_("List value of what was used"), places=2)

    class Meta:
        orderable = False


class ConditionsTable(Table):
    """What the award asks of the project, and where each condition stands."""

    title = _("Conditions of the award")
    text = tables.Column(verbose_name=_("Condition"))
    due_on = DayColumn(verbose_name=_("Due on"), default="–")
    standing = BadgeColumn(verbose_name=_("State"), tones={"met": "ok", "overdue": "bad", "open": "info"})

    class Meta:
        orderable = False
