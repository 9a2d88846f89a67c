"""The admin pages of the subsidy scheme; Django finds them by this module's name."""

from subsidies.admin import applications, decisions, money

__all__ = ["applications", "decisions", "money"]
