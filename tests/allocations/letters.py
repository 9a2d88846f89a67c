"""What the tests of letters share: a lead who gets them, use, nights, and mail servers that fail in their ways."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from time import sleep
from typing import Any

from django.core import mail
from django.core.mail import EmailMessage
from django.core.mail.backends.locmem import EmailBackend

from allocations import ledger, notices
from allocations.models import Allocation, Notice
from centre.models import User
from centre.permissions import ProjectRole
from tests import make

NOW = datetime(2026, 6, 15, 4, 0, tzinfo=UTC)  # noon in Hong Kong
TODAY = date(2026, 6, 15)
NIGHT = timedelta(days=1)


class SlowBackend(EmailBackend):
    """A mail server that takes its time, so that two runs meet."""

    def send_messages(self, messages: Sequence[EmailMessage]) -> int:
        sleep(0.3)
        return super().send_messages(messages)


class BrokenBackend(EmailBackend):
    """A mail server that cannot reach people at lost.example.org."""

    def send_messages(self, messages: Sequence[EmailMessage]) -> int:
        if any(address.endswith("@lost.example.org") for message in messages for address in message.to):
            raise ConnectionRefusedError
        return super().send_messages(messages)


class Killed(BaseException):
    """The operator's kill, as far as a test can be killed and go on."""


class KillingBackend(EmailBackend):
    """Between two letters the run is killed."""

    def send_messages(self, messages: Sequence[EmailMessage]) -> int:
        if mail.outbox:
            raise Killed
        return super().send_messages(messages)


def lead_of(allocation: Allocation, **person: str) -> User:
    return make.member(project=allocation.project, role=ProjectRole.LEAD, user=make.person(**person))


def use(allocation: Allocation, hours: int) -> None:
    run = make.run(allocation=allocation, hours=hours, start_at=NOW - timedelta(days=50))
    make.imported(run, cluster=allocation.pool.cluster)


def top_up(allocation: Allocation, hours: int) -> None:
    ledger.top_up(
        allocation=allocation,
        seconds=hours * make.HOUR,
        by=make.person(),
        approved_by=make.person(),
        at=NOW,
        key="more",
        reason="more is needed",
        source_kind="test",
    )


def night(at: datetime = NOW) -> list[str]:
    """One night's run; the bodies of its letters."""
    before = len(mail.outbox)
    notices.find_due(at=at)
    notices.send(at=at)
    return [str(letter.body) for letter in mail.outbox[before:]]


def standing() -> list[tuple[Any, ...]]:
    rows = Notice.objects.standing().order_by("kind", "threshold", "user")
    return list(rows.values_list("kind", "threshold"))


def told(body: str) -> list[str]:
    """The sentences that a letter tells, without figures and advice."""
    return [line[2:] for line in body.splitlines() if line.startswith("* ")]
