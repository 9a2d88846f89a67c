"""The demo's take-back rules, and the night on which one of them warned a team."""

from datetime import datetime
from functools import partial
from typing import Final, NamedTuple

from allocations import rules
from allocations.models import Allocation, TakeBackRule
from allocations.taking_back import take_back_unused
from centre.demo.content import H800, L40S
from centre.demo.world import World


class RulePlan(NamedTuple):
    """A take-back rule for subsidised hours of a pool; `day`, counted from today, is its first."""

    pool: str
    day: int
    check_at_bp: int
    under_bp: int
    reason: str


RULES: Final = (
    RulePlan(H800, -200, 5_000, 4_000, "Subsidised GPU-hours that a team does not need serve another one."),
    RulePlan(L40S, -120, 2_000, 4_000, "L40S hours are short this year; they are looked at after a fifth of a period."),
)
WARNING_NIGHT: Final = -7


def write(world: World) -> None:
    """Each rule is asked for by one officer and approved by another; one night later on looks at what was used."""
    for plan in RULES:
        world.diary.on(plan.day - 1, 16, partial(make_rule, world, plan))
    world.diary.on(WARNING_NIGHT, 6, lambda at: take_back_unused(at=at))


def make_rule(world: World, plan: RulePlan, at: datetime) -> None:
    rule = TakeBackRule(
        pool=world.pools[plan.pool],
        funding=Allocation.Funding.SUBSIDISED,
        from_on=world.diary.day(plan.day),
        check_at_bp=plan.check_at_bp,
        under_bp=plan.under_bp,
        warn_days=14,
        reason=plan.reason,
    )
    rules.ask_rule(rule=rule, by=world.staff("allocation.officer"), at=at)
    rules.approve_rule(rule=rule, by=world.staff("allocation.officer.two"), at=at)
