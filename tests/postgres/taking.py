"""One attempt to take hours from an allocation, as data, so that threads and other processes can be told to make it.

A new process imports this module first of all, which is why it sets Django up.
"""

from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier

import django
from django.apps import apps

if not apps.ready:
    django.setup()

from django.db import DatabaseError, connection, transaction
from django.db.models import F
from django.utils import timezone

from allocations import movements
from allocations.models import Allocation, LedgerEntry
from allocations.posting import LedgerError, NotEnough, post
from centre.models import User

WAYS = ("transfer", "take back", "hold", "bare post")


@dataclass(frozen=True)
class Take:
    """Take `seconds` from the allocation `source` in one of the ways; the rest are numbers of rows."""

    way: str
    seconds: int
    key: str
    source: int
    target: int
    asking: int
    approving: int


def taken(take: Take) -> str:
    """Make the attempt: "done", the name of the error by which the ledger refuses it, or any other error in full."""
    try:
        _take(take)
    except LedgerError as error:
        return type(error).__name__
    except DatabaseError as error:
        return f"{type(error).__name__}: {error}"
    return "done"


def _take(take: Take) -> None:
    at = timezone.now()
    if take.way == "naive":
        _check_then_write(take)
        return
    source = Allocation.objects.select_related("pool__cluster").get(pk=take.source)
    asking, approving = User.objects.get(pk=take.asking), User.objects.get(pk=take.approving)
    if take.way == "transfer":
        movements.transfer(
            source=source,
            target=Allocation.objects.get(pk=take.target),
            seconds=take.seconds,
            by=asking,
            approved_by=approving,
            at=at,
            key=take.key,
            reason="many at once",
        )
    elif take.way == "take back":
        movements.take_back(
            allocation=source,
            seconds=take.seconds,
            by=asking,
            approved_by=approving,
            at=at,
            key=take.key,
            reason="many at once",
        )
    elif take.way == "hold":
        movements.hold(allocation=source, seconds=take.seconds, by=asking, at=at, key=take.key, reason="many at once")
    else:
        post(
            allocation=source,
            kind=LedgerEntry.Kind.HOLD,
            seconds=-take.seconds,
            effective_on=at.date(),
            key=take.key,
            at=at,
            source_kind="test",
        )


def _check_then_write(take: Take) -> None:
    """The control: what is left is read, found to be enough, and then taken."""
    row = Allocation.objects.get(pk=take.source)
    if row.available_seconds < take.seconds:
        raise NotEnough
    with transaction.atomic():
        Allocation.objects.filter(pk=row.pk).update(held_seconds=F("held_seconds") + take.seconds)
        LedgerEntry.objects.create(
            allocation=row,
            kind=LedgerEntry.Kind.HOLD,
            total=LedgerEntry.Total.HELD,
            seconds=-take.seconds,
            effective_on=timezone.localdate(),
            recorded_at=timezone.now(),
            key=take.key,
            source_kind="test",
        )


def take_part(channel: Connection, start: Barrier, database: str) -> None:
    """What a process does: with every list of attempts that it is sent, begin with the others and tell the results."""
    connection.settings_dict["NAME"] = database
    while takes := channel.recv():
        connection.ensure_connection()
        start.wait()
        channel.send([taken(take) for take in takes])
    connection.close()
