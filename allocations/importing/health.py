"""Which windows of time the exports of a cluster cover, where one is missing, and until when books are complete.

An export covers a window: from what sacct was told by -S to the instant at which it ran. Of many exports nobody told
the beginning. Such an export covers something up to its instant, nobody knows what: so it neither fills a gap between
two windows that were told nor makes one between itself and another export that may reach back over it.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from allocations.models import UsageImport


class Window(NamedTuple):
    """What one export covers, both instants included; `begins` is None where nobody told it."""

    begins: datetime | None
    ends: datetime


@dataclass(frozen=True)
class Gap:
    """A stretch of time between two windows that no window covers.

    Until `perhaps_until` an export whose window was not told may hold it; from then on certainly none does.
    """

    begins: datetime
    ends: datetime
    perhaps_until: datetime

    @property
    def is_certain(self) -> bool:
        return self.perhaps_until <= self.begins

    @property
    def may_be_whole(self) -> bool:
        """Perhaps nothing of it is missing."""
        return self.perhaps_until >= self.ends


def gaps(windows: Iterable[Window]) -> list[Gap]:
    """What no window covers, in order.

    An instant belongs to a gap when no window that was told holds it, one begins after it, and one ends before it. In
    place of the last an export without a window will do, unless a later one of those may reach back.
    """
    windows = list(windows)
    told = sorted((window.begins, window.ends) for window in windows if window.begins is not None)
    untold = max((window.ends for window in windows if window.begins is None), default=None)
    found: list[Gap] = []
    reached = untold  # a window that begins before it is no proof, but then nothing is certain either
    is_first = True
    for begins, ends in told:
        if reached is not None and begins > reached:
            perhaps_until = reached if untold is None else min(max(reached, untold), begins)
            found.append(Gap(reached, begins, perhaps_until))
        reached = ends if is_first or reached is None else max(reached, ends)
        is_first = False
    return found


@dataclass(frozen=True)
class Coverage:
    """What the exports of one cluster cover together."""

    gaps: tuple[Gap, ...]
    latest: datetime
    """The instant of the latest export."""
    latest_told: datetime | None
    """The instant of the latest export whose window was told."""
    untold: int
    """Exports whose window was not told."""

    def complete_until(self, *, since: datetime) -> datetime:
        """Until when the books are complete for somebody who counts from `since` on.

        A gap that ended before that does not matter to them. A gap that an export without a window may have filled
        counts as a gap: what is decided on complete books can wait until the window is exported again.
        """
        return next((gap.begins for gap in self.gaps if gap.ends > since), self.latest)


def coverage_of(windows: Iterable[Window]) -> Coverage | None:
    """None where nothing was imported."""
    windows = list(windows)
    if not windows:
        return None
    return Coverage(
        gaps=tuple(gaps(windows)),
        latest=max(window.ends for window in windows),
        latest_told=max((window.ends for window in windows if window.begins is not None), default=None),
        untold=sum(window.begins is None for window in windows),
    )


def coverage_of_clusters(*, since: datetime | None = None) -> dict[int, Coverage]:
    """What the imports that are done cover, for each cluster that has any. One query.

    With `since` only exports that ran then or later are read, so that what is read does not grow over the years: a gap
    that began before is not told, or only the part of it after an export without a window.
    """
    done = UsageImport.objects.of_exports().filter(state=UsageImport.State.DONE, as_of__isnull=False)
    if since is not None:
        done = done.filter(as_of__gte=since)
    windows: defaultdict[int, list[Window]] = defaultdict(list)
    for cluster, begins, ends in done.order_by().values_list("cluster", "covers_from", "as_of").distinct():
        assert ends is not None  # noqa: S101  the filter says so
        windows[cluster].append(Window(begins, ends))
    found = ((cluster, coverage_of(each)) for cluster, each in windows.items())
    return {cluster: coverage for cluster, coverage in found if coverage is not None}
