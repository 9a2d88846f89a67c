"""Whole numbers made readable: GPU-seconds as GPU-hours, rounded once, half up, in integers."""

from django.utils.formats import number_format


def rounded(numerator: int, denominator: int) -> int:
    """The nearest whole number, halves away from zero; `denominator` is positive."""
    sign = -1 if numerator < 0 else 1
    return sign * ((2 * abs(numerator) + denominator) // (2 * denominator))


def decimal_text(numerator: int, denominator: int, places: int) -> str:
    """The quotient with that many decimals, half up, in plain notation such as `-12.50`."""
    scaled = rounded(numerator * 10**places, denominator)
    sign = "-" if scaled < 0 else ""
    whole, rest = divmod(abs(scaled), 10**places)
    return f"{sign}{whole}.{rest:0{places}d}" if places else f"{sign}{whole}"


def hours_text(seconds: int, places: int = 2) -> str:
    """GPU-seconds as GPU-hours for a sentence, localised: `1,234.50`."""
    return number_format(decimal_text(seconds, 3600, places), use_l10n=True, force_grouping=True)
