"""The demo's statements: issued some days after each month, as the nightly command does."""

from datetime import datetime, timedelta
from typing import Final

from allocations.issuing import issue_due
from allocations.statements import first_day
from centre.demo.content import BOOKS_BEGIN
from centre.demo.world import World

AFTER_DAYS: Final = 3


def write(world: World) -> None:
    """On the fourth of each month since the books begin, and last night what still waited for an import."""
    today = world.diary.today
    for ago in range(BOOKS_BEGIN, 1):
        day = today + timedelta(days=ago)
        if day == first_day(day) + timedelta(days=AFTER_DAYS) or ago == 0:
            world.diary.on(ago, 2, issue_all)


def issue_all(at: datetime) -> None:
    for _each in issue_due(at=at, after_days=AFTER_DAYS):
        pass
