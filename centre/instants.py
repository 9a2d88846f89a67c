"""The instants of an act that lasts: what is recorded late in it must not be dated back to its beginning."""

from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic


def going_on_from(at: datetime) -> Callable[[], datetime]:
    """A clock that stands at `at` now and goes on from there, in whole seconds.

    A verb is told when it happens. One that does many things, or waits for its turn first, asks this clock before each
    of them: the ledger as of an instant in between does not change when it goes on.
    """
    began = monotonic()
    return lambda: at + timedelta(seconds=int(monotonic() - began))
