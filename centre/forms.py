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


class WrittenNumber(forms.DecimalField):
    """A number of a unit with at most two decimals, kept as a whole number of `parts` of the unit.

    Thousands may be set apart: 12,000. A field of its own kind says in its sentences what to write.
    """

    parts = 1
    # Not a number field of the browser: that one throws away what it cannot read, and takes no 12,000.
    widget = forms.TextInput

    def __init__(self, **options: Any) -> None:
        super().__init__(decimal_places=2, **options)

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        return {**super().widget_attrs(widget), "inputmode": "decimal", "autocomplete": "off"}

    def to_python(self, value: Any) -> Any:
        number: Decimal | None = super().to_python(ungrouped(value) if isinstance(value, str) else value)
        exponent = number.as_tuple().exponent if number is not None else 0
        if isinstance(exponent, int) and exponent < -2:  # a letter for what is no number
            raise forms.ValidationError(self.error_messages["max_decimal_places"], code="max_decimal_places")
        return number

    def clean(self, value: Any) -> Any:
        number: Decimal | None = super().clean(value)
        return None if number is None else int(number * self.parts)

    def prepare_value(self, value: Any) -> Any:
        """What is shown for a stored number; what somebody typed stays as it is."""
        return Decimal(value) / self.parts if isinstance(value, int) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether somebody wrote another number than is shown for the stored one."""
        return super().has_changed(self.prepare_value(initial), data)


class GpuHoursField(WrittenNumber):
    """GPU-hours, as whole GPU-seconds: 1.25 is 4,500."""

    parts = 3600
    default_error_messages = {
        "required": _("Say how many GPU-hours."),
        "invalid": _("Write a number of GPU-hours in digits, such as 12,000 or 1.5."),
        "min_value": _("Write a number of GPU-hours that is not below 0."),
        "max_digits": _("This is more than any machine could give. Check the number of GPU-hours."),
        "max_whole_digits": _("This is more than any machine could give. Check the number of GPU-hours."),
        "max_decimal_places": _("Write GPU-hours with two decimals at most, such as 1.25."),
    }

    def __init__(self, **options: Any) -> None:
        options.setdefault("label", _("GPU-hours"))
        super().__init__(max_digits=15, **options)


class DollarsField(WrittenNumber):
    """Dollars of Hong Kong, as whole cents: 12.50 is 1,250."""

    parts = 100
    default_error_messages = {
        "required": _("Say how many HK$."),
        "invalid": _("Write an amount of HK$ in digits, such as 3,000,000 or 12.50."),
        "min_value": _("Write an amount of HK$ that is not below 0."),
        "max_digits": _("This is more than a centre could spend. Check the amount of HK$."),
        "max_whole_digits": _("This is more than a centre could spend. Check the amount of HK$."),
        "max_decimal_places": _("Write HK$ with two decimals at most, such as 12.50."),
    }

    def __init__(self, **options: Any) -> None:
        options.setdefault("label", _("HK$"))
        super().__init__(max_digits=17, **options)


NO_SHARE = _("Write a share from 0 to 100 per cent.")


class PercentField(WrittenNumber):
    """A share in per cent, from 0 to 100, as whole basis points: 12.5 is 1,250."""

    parts = 100
    default_error_messages = {
        "required": _("Say how many per cent."),
        "invalid": _("Write a share in digits, such as 70 or 12.5."),
        "min_value": NO_SHARE,
        "max_value": NO_SHARE,
        "max_decimal_places": _("Write per cent with two decimals at most, such as 12.25."),
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=0, max_value=100, **options)
