"""Figures are rounded once, half up, from whole numbers: exactly as fractions say, where floats would not."""

import random
from collections.abc import Callable, Iterator
from fractions import Fraction

from django.utils.translation import override

from centre.amounts import decimal_text, hours_text, rounded

DENOMINATORS = (3600, 100, 10_000, 7, 1, 86_400)
Case = tuple[int, int, int]
"""Numerator, denominator, decimals."""


def cases(seed: int, number: int) -> Iterator[Case]:
    """Amounts from nothing to beyond what floats tell apart, of both signs, every third next to a half."""
    draw = random.Random(seed)
    for n in range(number):
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


def differing(told: Callable[[int, int, int], str], *, seed: int, number: int) -> list[tuple[Case, str]]:
    """The cases in which a text is not the exact number with exactly its decimals."""
    return [
        (case, text)
        for case in cases(seed, number)
        if Fraction(text := told(*case)) != exact(*case) or len(text.partition(".")[2]) != case[2]
    ]


def test_a_hundred_thousand_amounts_are_what_exact_fractions_say() -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    assert differing(decimal_text, seed=seed, number=100_000) == []


def test_floats_would_be_caught() -> None:
    """The control: the same figures by way of floats."""

    def by_float(numerator: int, denominator: int, places: int) -> str:
        return f"{numerator / denominator:.{places}f}"

    assert differing(by_float, seed=1, number=1_000)


def test_whole_numbers_and_hours_in_a_sentence_are_exact_too() -> None:
    with override("en"):
        for numerator, denominator, _places in cases(3, 5_000):
            assert rounded(numerator, denominator) == exact(numerator, denominator, 0)
            assert Fraction(hours_text(numerator).replace(",", "")) == exact(numerator, 3600, 2)
