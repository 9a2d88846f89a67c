"""The admin pages of GPU time; Django finds them by this module's name."""

from allocations.admin import accounts, asking, mapping, notices, rules, taking_back, tokens, usage

__all__ = ["accounts", "asking", "mapping", "notices", "rules", "taking_back", "tokens", "usage"]
