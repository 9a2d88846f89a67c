"""Acts that touch the same two allocations from either side wait for their turn, never for each other."""

from functools import partial

import pytest
from django.utils import timezone

from allocations import requests
from allocations.models import Allocation, ChangeRequest, LedgerEntry
from allocations.verifying import differences
from centre.models import User
from centre.permissions import StaffRole
from tests import make
from tests.postgres.acting import together

pytestmark = pytest.mark.usefixtures("committed")

Kind = ChangeRequest.Kind
ROUNDS = 8


def officer() -> User:
    return make.staff(StaffRole.ALLOCATION_OFFICER)


def moving(source: Allocation, target: Allocation, by: User, key: str) -> ChangeRequest:
    return requests.propose(
        kind=Kind.TRANSFER,
        allocation=Allocation.objects.select_related("pool__cluster").get(pk=source.pk),
        to_allocation=Allocation.objects.get(pk=target.pk),
        seconds=make.HOUR,
        reason="moved",
        by=by,
        at=timezone.now(),
        key=key,
    )


def test_proposals_and_approvals_in_both_directions_all_succeed() -> None:
    pool, first, second = make.pool(), officer(), officer()
    here, there = make.allocation(pool=pool), make.allocation(pool=pool)
    for number in range(ROUNDS):
        waiting = [
            moving(source, target, first, f"asked-{number}-{source.pk}")
            for source, target in ((here, there), (there, here))
        ]
        acts = [
            *(partial(requests.approve, request=one, by=second, at=timezone.now()) for one in waiting),
            *(
                partial(moving, source, target, by, f"{number}-{source.pk}-{by.pk}")
                for by in (first, second)
                for source, target in ((here, there), (there, here))
            ),
        ]
        assert together(acts) == ["done"] * 6
    assert list(differences()) == []


def test_a_reversal_from_the_receiving_side_and_a_transfer_all_succeed() -> None:
    pool, first, second = make.pool(), officer(), officer()
    here, there = make.allocation(pool=pool), make.allocation(pool=pool)
    for number in range(ROUNDS):
        moving_on = moving(here, there, first, f"on-{number}")
        requests.approve(request=moving(here, there, first, f"wrong-{number}"), by=second, at=timezone.now())
        into = LedgerEntry.objects.filter(allocation=there, kind="transfer").latest("pk")
        reversal = requests.propose(
            kind=Kind.REVERSAL,
            allocation=there,
            entry=into,
            reason="wrong",
            by=first,
            at=timezone.now(),
            key=f"back-{number}",
        )
        acts = [partial(requests.approve, request=one, by=second, at=timezone.now()) for one in (reversal, moving_on)]
        assert together(acts) == ["done"] * 2
    assert list(differences()) == []
