"""Figures are rounded once, half up, from whole numbers: exactly as fractions say, where floats would not."""

import random
from collections.abc import Callable, Iterator
from fractions import Fraction

from django.utils.translation import override

from centre.amounts import decimal_text, hours_text, rounded

VALUES = 100_000
DENOMINATORS = (3600, 100, 10_000, 7, 1, 86_400)
Case = tuple[int, int, int]
"""Numerator, denominator, decimals."""


def cases(seed: int) -> Iterator[Case]:
    """Amounts from nothing to beyond what floats tell apart, of both signs, every third next to a half."""
    draw = random.Random(seed)
    for n in range(VALUES):
        denominator, places = draw.choice(DENOMINATORS), draw.randrange(4)
        numerator = draw.randrange(-(10 ** draw.randrange(1, 20)), 10 ** draw.randrange(1, 20))
        if n % 3 == 0:
            half = Fraction(2 * numerator + 1, 2 * 10**places) * denominator
            numerator = half.numerator // half.denominator + draw.choice((-1, 0, 1))
        yield numerator, denominator, places


def exact(numerator: int, denominator: int, places: int) -> Fraction:
    """The quotient with so many decimals, halves away from zero."""
    scaled = abs(Fraction(numerator, denominator)) * 10**places
    whole = scaled.numerator // scaled.denominator
    if scaled - whole >= Fraction(1, 2):
        whole += 1
    return Fraction(whole if numerator >= 0 else -whole, 10**places)


def differing(told: Callable[[int, int, int], str], seed: int) -> list[tuple[Case, str]]:
    """The cases in which a text is not the exact number."""
    return [(case, text) for case in cases(seed) if Fraction(text := told(*case)) != exact(*case)]


def test_a_hundred_thousand_amounts_are_what_exact_fractions_say() -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    assert differing(decimal_text, seed) == []
    for numerator, denominator, places in cases(seed):
        assert rounded(numerator, denominator) == exact(numerator, denominator, 0)
        assert len(decimal_text(numerator, denominator, places).partition(".")[2]) == places


def test_floats_would_be_caught() -> None:
    """The control: the same figures by way of floats."""
    assert differing(lambda numerator, denominator, places: f"{numerator / denominator:.{places}f}", 1)


def test_hours_in_a_sentence_are_the_exact_hours() -> None:
    draw = random.Random(3)
    with override("en"):
        for _ in range(10_000):
            seconds = draw.randrange(-(2**62), 2**62)
            assert Fraction(hours_text(seconds).replace(",", "")) == exact(seconds, 3600, 2)
