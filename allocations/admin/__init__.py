"""The admin pages of GPU time; Django finds them by this module's name."""

from allocations.admin import (
    accounts,
    asking,
    drawing,
    entries,
    imports,
    mapping,
    notices,
    onboarding,
    quarantine,
    rules,
    runs,
    statements,
    taking_back,
    tokens,
)

__all__ = [
    "accounts",
    "asking",
    "drawing",
    "entries",
    "imports",
    "mapping",
    "notices",
    "onboarding",
    "quarantine",
    "rules",
    "runs",
    "statements",
    "taking_back",
    "tokens",
]
