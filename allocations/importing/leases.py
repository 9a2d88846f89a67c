"""The lease of a worker on the import it works on, and how far it is."""

from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic
from typing import Final

from allocations.models import UsageImport

LEASE: Final = timedelta(minutes=2)
_EVERY: Final = 1.0  # seconds


class ClaimLost(Exception):
    """Another worker has taken the import up."""


class Lease:
    """Tells how far the reading is, about once a second, and renews the lease with it."""

    def __init__(self, usage_import: UsageImport, *, clock: Callable[[], datetime]) -> None:
        self._import, self._clock = usage_import, clock
        self._told = monotonic()
        self._mine = UsageImport.objects.filter(
            pk=usage_import.pk, claims=usage_import.claims, state=UsageImport.State.RUNNING
        )

    def begin(self, phase: UsageImport.Phase, *, read_bytes: int = 0) -> None:
        """Say what is done now; ClaimLost when another worker has the import."""
        self._told = monotonic()
        self._import.phase, self._import.read_bytes = phase, read_bytes
        if not self._mine.update(phase=phase, read_bytes=read_bytes, lease_until=self._clock() + LEASE):
            raise ClaimLost

    def go_on(self, read_bytes: int) -> None:
        """Say how much of the file was read; ClaimLost when another worker has the import."""
        if monotonic() - self._told >= _EVERY:
            self.begin(UsageImport.Phase.READING, read_bytes=read_bytes)

    def hold(self) -> None:
        """Lock the import's row until the transaction ends; ClaimLost when another worker has it."""
        if self._mine.select_for_update().values_list("pk").first() is None:
            raise ClaimLost
