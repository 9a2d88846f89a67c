"""The demo's period-end rules, and the nights on which ended allocations were closed by them."""

from datetime import datetime
from functools import partial
from typing import Final

from allocations import rules
from allocations.closing import close_periods
from allocations.models import PeriodEndRule
from centre.demo.content import H800, L40S
from centre.demo.world import World

FIRST_DAY: Final = -200
SHARES: Final = {H800: 500, L40S: 1_000}
"""Basis points of what was granted that are carried over at most, by pool."""
NIGHTS: Final = (-107, -88, -29, 0)
REASON: Final = "So that a project can finish what it began, and what nobody needs serves another one."


def write(world: World) -> None:
    """Each rule is asked for by one officer and approved by another."""
    world.diary.on(FIRST_DAY - 3, 16, partial(make_rules, world))
    for night in NIGHTS:
        world.diary.on(night, 1, lambda at: close_periods(at=at))


def make_rules(world: World, at: datetime) -> None:
    for pool, share in SHARES.items():
        rule = PeriodEndRule(
            pool=world.pools[pool],
            from_on=world.diary.day(FIRST_DAY),
            carry_over=PeriodEndRule.CarryOver.AT_MOST,
            most_bp=share,
            wait_days=30,
            reason=REASON,
        )
        rules.ask_rule(rule=rule, by=world.staff("allocation.officer.two"), at=at)
        rules.approve_rule(rule=rule, by=world.staff("allocation.officer"), at=at)
