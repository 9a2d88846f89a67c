"""Fields in which people write GPU-hours, dollars and shares; what they give is whole seconds, cents, basis points.

What cannot be meant is answered with a sentence that says what to write instead.
"""

import re
from decimal import Decimal
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

GROUPED = re.compile(r"[+-]?\d{1,3}(?:([ \u00a0\u202f\u2009,'’])\d{3})(?:\1\d{3})*(?:\.\d*)?")
"""Digits in threes as people write them, with one kind of mark between: 12,000 or 1 234 567.5."""
FULL_WIDTH = str.maketrans("，．", ",.")


def ungrouped(text: str) -> str:
    """A number without the marks between its thousands; anything else as it is, so that 12,5 is not taken for 125."""
    text = text.strip().translate(FULL_WIDTH)
    found = GROUPED.fullmatch(text)
    return text.replace(found[1], "") if found else text


class TextField(forms.CharField):
    """A text of so many letters at most."""

    default_error_messages = {
        "max_length": _("This is too long: shorten it to %(limit_value)s characters. It has %(show_value)s now."),
        "null_characters_not_allowed": _("This holds a character that cannot be kept. Write it anew."),
    }


class GpuHoursField(forms.DecimalField):
    """GPU-hours with at most two decimals, as whole GPU-seconds: 1.25 is 4,500. Thousands may be set apart: 12,000."""

    default_error_messages = {
        "required": _("Say how many GPU-hours."),
        "invalid": _("Write a number of GPU-hours in digits, such as 12,000 or 1.5."),
        "min_value": _("Write a number of GPU-hours that is not below 0."),
        "max_digits": _("This is more than any machine could give. Check the number of GPU-hours."),
        "max_whole_digits": _("This is more than any machine could give. Check the number of GPU-hours."),
        "max_decimal_places": _("Write GPU-hours with two decimals at most, such as 1.25."),
    }
    # Not a number field of the browser: that one throws away what it cannot read, and takes no 12,000.
    widget = forms.TextInput

    def __init__(self, **options: Any) -> None:
        options.setdefault("label", _("GPU-hours"))
        super().__init__(max_digits=15, decimal_places=2, **options)

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        return {**super().widget_attrs(widget), "inputmode": "decimal", "autocomplete": "off"}

    def to_python(self, value: Any) -> Any:
        hours: Decimal | None = super().to_python(ungrouped(value) if isinstance(value, str) else value)
        exponent = hours.as_tuple().exponent if hours is not None else 0
        if isinstance(exponent, int) and exponent < -2:  # a letter for what is no number
            raise forms.ValidationError(self.error_messages["max_decimal_places"], code="max_decimal_places")
        return hours

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
