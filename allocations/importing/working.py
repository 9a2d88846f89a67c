"""Working through the queue: an import is taken up with a lease, entered into the books, or given back.

The row is the queue. Taking up moves `claims` on, and only who holds the present claim may write: one whose lease ran
out while it slept finds that out before it touches the books. While the books are written the row is locked, so that
nobody else takes the import up however long that lasts; who dies lets go of both.
"""

import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from django.db import DatabaseError, connection, transaction
from django.utils.translation import gettext as _
from django.utils.translation import override

from allocations.importing import booking
from allocations.importing.leases import LEASE, ClaimLost
from allocations.models import UsageImport
from allocations.models.imports import MOST_CLAIMS
from allocations.slurm.header import UnreadableExport
from centre import audit
from centre.instants import going_on_from
from centre.models import User

__all__ = ["LEASE", "ClaimLost", "claim", "this_worker", "try_again", "work_on", "work_through"]

log = logging.getLogger(__name__)
FIRST_WAIT: Final = timedelta(minutes=1)
LONGEST_WAIT: Final = timedelta(hours=1)


def this_worker() -> str:
    """The name of this process among the workers."""
    return f"{socket.gethostname()[:80]}:{os.getpid()}"


def work_through(*, clock: Callable[[], datetime], worker: str) -> list[UsageImport]:
    """Take up and import what is due until nothing is; returns the imports that were worked on.

    One that cannot be imported now does not stop the others: it is called failed or is tried again later.
    """
    worked: list[UsageImport] = []
    while usage_import := claim(at=clock(), worker=worker):
        with suppress(UnreadableExport, ClaimLost, DatabaseError, OSError):  # written on its row by work_on
            work_on(usage_import, at=clock())
        worked.append(usage_import)
    return worked


@transaction.atomic
def claim(*, at: datetime, worker: str) -> UsageImport | None:
    """Take up the import that has waited longest, for a lease; None when none is due."""
    waiting = UsageImport.objects.claimable(at=at).order_by("received_at", "pk")
    while usage_import := waiting.select_for_update(skip_locked=True).first():
        if usage_import.claims < MOST_CLAIMS:
            usage_import.state = UsageImport.State.RUNNING
            usage_import.claims += 1
            usage_import.worker = worker
            usage_import.lease_until = at + LEASE
            usage_import.phase = ""
            usage_import.read_bytes = 0
            usage_import.save(update_fields=["state", "claims", "worker", "lease_until", "phase", "read_bytes"])
            return usage_import
        _end_as_failed(
            usage_import,
            usage_import.error
            or _("It was begun %(times)s times and never came to an end.") % {"times": usage_import.claims},
            at=at,
        )
    return None


def work_on(usage_import: UsageImport, *, at: datetime) -> None:
    """Import what was taken up; afterwards it is done, failed, or waits to be tried again.

    Raises UnreadableExport when the file is at fault (the import has failed, nothing was charged), ClaimLost when
    another worker has it by now, DatabaseError or OSError when it will be tried again by itself.
    """
    clock = going_on_from(at)
    with override(usage_import.by.language if usage_import.by else "en"):
        try:
            booking.book(usage_import, clock=clock)
        except UnreadableExport as error:
            log.warning("Import %s failed: %s", usage_import.pk, error)
            _fail(usage_import, str(error), at=clock())
            raise
        except (DatabaseError, OSError) as error:
            log.warning("Import %s could not be finished and is tried again later: %s", usage_import.pk, error)
            _give_back(usage_import, f"{type(error).__name__}: {error}".strip(), at=clock())
            raise


@transaction.atomic
def try_again(*, usage_import: UsageImport, by: User, at: datetime) -> bool:
    """Put a failed import into the queue again; False when it is not failed (any more)."""
    from allocations.importing import tasks  # noqa: PLC0415  that module calls this one

    again = UsageImport.objects.filter(pk=usage_import.pk, state=UsageImport.State.FAILED)
    moved = again.update(
        state=UsageImport.State.RECEIVED, claims=0, error="", try_again_at=None, phase="", read_bytes=0
    )
    if moved:
        audit.record(act="try_import_again", on=usage_import, by=by, at=at)
        transaction.on_commit(tasks.nudge)
    return bool(moved)


def _fail(usage_import: UsageImport, message: str, *, at: datetime) -> None:
    with transaction.atomic():
        mine = UsageImport.objects.select_for_update().filter(
            pk=usage_import.pk, claims=usage_import.claims, state=UsageImport.State.RUNNING
        )
        if mine.first() is not None:
            _end_as_failed(usage_import, message, at=at)


def _end_as_failed(usage_import: UsageImport, message: str, *, at: datetime) -> None:
    usage_import.state = UsageImport.State.FAILED
    usage_import.error = message
    usage_import.finished_at = at
    usage_import.lease_until = None
    usage_import.save(update_fields=["state", "error", "finished_at", "lease_until"])
    audit.record(act="fail_import", on=usage_import, by=None, at=at, reason=message[:500])


def _give_back(usage_import: UsageImport, message: str, *, at: datetime) -> None:
    """Let the import wait for another try, each time twice as long. Without a database the lease runs out by itself."""
    if not connection.in_atomic_block:
        connection.close()  # one that a restarted server has cut is opened anew
    wait = min(FIRST_WAIT * 2 ** (usage_import.claims - 1), LONGEST_WAIT)
    with suppress(DatabaseError):
        UsageImport.objects.filter(
            pk=usage_import.pk, claims=usage_import.claims, state=UsageImport.State.RUNNING
        ).update(
            state=UsageImport.State.RECEIVED,
            error=message,
            lease_until=None,
            try_again_at=at + wait,
            phase="",
        )
