"""Whenever an account is let draw, or withdrawn, beside imports in any order: the books of what is known in the end."""

from collections.abc import Callable

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings

from allocations import drawing
from allocations.models import Allocation, DrawingAccount
from centre.models import User
from tests.allocations.drawing_history import Cover, History, Told, books_of, day, histories

pytestmark = pytest.mark.django_db

EVERY_CHECK = list(HealthCheck)


def differ(history: History, **broken: Callable[..., object]) -> bool:
    in_its_order = books_of(history, in_its_order=True, **broken)
    return in_its_order != books_of(history, in_its_order=False)


@settings(max_examples=6, suppress_health_check=EVERY_CHECK)
@given(history=histories())
def test_any_order_gives_the_books_of_what_is_known_in_the_end(history: History) -> None:
    assert books_of(history, in_its_order=True) == books_of(history, in_its_order=False)


@pytest.mark.hard
@settings(max_examples=500, suppress_health_check=EVERY_CHECK)
@given(history=histories())
def test_five_hundred_orders_give_the_books_of_what_is_known_in_the_end(history: History) -> None:
    assert books_of(history, in_its_order=True) == books_of(history, in_its_order=False)


def forgetful_let_draw(allocation: Allocation, cover: Cover, by: User) -> DrawingAccount:
    """The control: what has waited is not charged."""
    row = DrawingAccount(
        allocation=allocation,
        pool=allocation.pool,
        account=cover.account,
        from_on=day(cover.first),
        until_on=day(cover.last),
        reason="-",
        made_by=by,
        made_at=timezone.now(),
    )
    drawing.refuse_drawing(row)
    row.save()
    return row


def forgetful_withdraw(row: DrawingAccount, by: User) -> object:
    """The control: what was charged stays charged."""
    return DrawingAccount.objects.filter(pk=row.pk).update(withdrawn_by=by, withdrawn_at=timezone.now())


A_WEEK = Cover("p0", "ann", 0, 6, draws=True)
A_RUN = (Told(number=1, account="ann", pool="p0", start=5, hours=10, gpus=2),)
DRAWS_LATER = History(covers=(A_WEEK,), withdrawn=(), runs=A_RUN, exports=(30,), order=(1, 0))
DREW_FOR_A_WHILE = History(covers=(), withdrawn=(A_WEEK,), runs=A_RUN, exports=(30,), order=(0, 2, 1))


@pytest.mark.parametrize(
    ("history", "broken"),
    [(DRAWS_LATER, {"let_draw": forgetful_let_draw}), (DREW_FOR_A_WHILE, {"withdraw": forgetful_withdraw})],
    ids=["let_draw", "withdraw"],
)
def test_an_act_that_forgets_what_was_imported_is_caught(
    history: History, broken: dict[str, Callable[..., object]]
) -> None:
    assert (differ(history), differ(history, **broken)) == (False, True)
