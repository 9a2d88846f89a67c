"""Fields in which people write GPU-hours, dollars and shares; what they give is whole seconds, cents, basis points."""

from decimal import Decimal
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _


class GpuHoursField(forms.DecimalField):
    """GPU-hours with at most two decimals, as whole GPU-seconds: 1.25 is 4,500."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("label", _("GPU-hours"))
        super().__init__(max_digits=15, decimal_places=2, **options)

    def clean(self, value: Any) -> Any:
        hours: Decimal | None = super().clean(value)
        return None if hours is None else int(hours * 3600)

    def prepare_value(self, value: Any) -> Any:
        """What is shown for a stored number of seconds; what somebody typed stays as it is."""
        return Decimal(value) / 3600 if isinstance(value, int) else value


class DollarsField(forms.DecimalField):
    """Dollars of Hong Kong with at most two decimals, as whole cents: 12.50 is 1,250."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("label", _("HK$"))
        super().__init__(max_digits=17, decimal_places=2, **options)

    def clean(self, value: Any) -> Any:
        dollars: Decimal | None = super().clean(value)
        return None if dollars is None else int(dollars * 100)

    def prepare_value(self, value: Any) -> Any:
        """What is shown for a stored number of cents; what somebody typed stays as it is."""
        return Decimal(value) / 100 if isinstance(value, int) else value


class PercentField(forms.DecimalField):
    """A share in per cent with at most two decimals, from 0 to 100, as whole basis points: 12.5 is 1,250."""

    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=0, max_value=100, max_digits=5, decimal_places=2, **options)

    def clean(self, value: Any) -> Any:
        share: Decimal | None = super().clean(value)
        return None if share is None else int(share * 100)

    def prepare_value(self, value: Any) -> Any:
        """What is shown for stored basis points; what somebody typed stays as it is."""
        return Decimal(value) / 100 if isinstance(value, int) else value
