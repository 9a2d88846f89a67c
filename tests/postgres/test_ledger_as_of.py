"""The books as of an instant, while something that began before it is still being recorded."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Event

import pytest
from django.db import connection, transaction
from django.utils import timezone

from allocations.balances import Books
from allocations.ledger import top_up
from allocations.models import Allocation
from tests import make

pytestmark = pytest.mark.usefixtures("committed")


def while_recording(allocation: Allocation, look: Callable[[datetime], bool]) -> bool:
    """What `look` sees as of an instant after which a top-up that began before it has still not committed."""
    has_written, may_commit = Event(), Event()

    def give() -> None:
        with transaction.atomic():
            top_up(
                allocation=allocation,
                seconds=make.HOUR,
                by=make.person(),
                approved_by=make.person(),
                at=timezone.now(),
                key="slow",
                reason="for a test",
                source_kind="test",
            )
            has_written.set()
            may_commit.wait(30)
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        given = pool.submit(give)
        assert has_written.wait(30)
        seen = look(timezone.now())
        may_commit.set()
        given.result()
    return seen


def test_books_of_an_instant_are_said_to_grow_while_something_of_it_is_recorded() -> None:
    allocation = make.allocation()
    moment: list[datetime] = []

    def look(now: datetime) -> bool:
        moment.append(now)
        return Books(allocation, now).may_still_grow(at=now)

    before = Books(allocation, timezone.now()).totals()
    assert while_recording(allocation, look) is True
    after = Books(allocation, moment[0]).totals()
    assert after.granted == before.granted + make.HOUR  # what it warned of
    assert Books(allocation, moment[0]).may_still_grow(at=moment[0]) is False


def test_books_of_an_earlier_instant_are_settled_whatever_is_recorded_now() -> None:
    allocation = make.allocation()
    earlier = timezone.now() - timedelta(seconds=30)
    assert while_recording(allocation, lambda now: Books(allocation, earlier).may_still_grow(at=now)) is False
