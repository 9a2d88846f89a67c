"""Does what was charged agree with the job runs, and do the runs agree with Slurm's own sums?

Per Slurm account and accounting day the GPU-seconds of the runs are added up anew, by arithmetic of this module's own,
and compared with the run charges. Given the output of `sreport -n -P -t seconds`, the runs of the whole window are
compared with it. Every difference comes as a sentence with its likely cause.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from django.db.models import Q, Sum

from allocations.models import Allocation, DrawingAccount, JobRun, RunCharge, UsageImport
from centre.models import Cluster

GPU_TRES = "gres/gpu"
SREPORT_COLUMNS = 6  # Cluster|Account|Login|Proper Name|TRES Name|Used


class UnreadableReport(Exception):
    """What was given is not the output of sreport that can be compared."""


@dataclass
class Sums:
    """GPU-seconds of a cluster's runs in a window, as the runs themselves say."""

    by_day: dict[tuple[str, date], int] = field(default_factory=lambda: defaultdict(int))
    by_account: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    resized: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    unfinished: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Window:
    """Accounting days of a cluster, both included."""

    cluster: Cluster
    first: date
    last: date

    @property
    def begin(self) -> datetime:
        return datetime.combine(self.first, time(), tzinfo=self.cluster.zone).astimezone(UTC)

    @property
    def end(self) -> datetime:
        return datetime.combine(self.last + timedelta(days=1), time(), tzinfo=self.cluster.zone).astimezone(UTC)


def sums_of_runs(window: Window) -> Sums:
    """Add up the runs that touch the window; a run still going on counts up to the export that told of it."""
    sums = Sums()
    touching = JobRun.objects.filter(
        Q(end_at=None) | Q(end_at__gt=window.begin), cluster=window.cluster, start_at__lt=window.end, gpus__gt=0
    )
    columns = ("account", "state", "gpus", "submit_at", "start_at", "end_at", "as_of")
    for account, state, gpus, submit_at, start_at, end_at, as_of in touching.values_list(*columns).iterator():
        if state.split()[:1] == ["PENDING"]:
            continue
        until = min(end_at or as_of, window.end)
        # Slurm gives a resized job's second record its first start, and sreport counts that time twice
        for counted_from, is_charged in ((start_at, False), (max(start_at, submit_at), True)):
            moment = max(counted_from, window.begin)
            if not is_charged:
                sums.resized[account] += gpus * max(0, _seconds(moment, min(max(start_at, submit_at), until)))
                continue
            while moment < until:
                day = moment.astimezone(window.cluster.zone).date()
                midnight = datetime.combine(day + timedelta(days=1), time(), tzinfo=window.cluster.zone)
                part = gpus * _seconds(moment, min(until, midnight))
                sums.by_day[account, day] += part
                sums.by_account[account] += part
                moment = midnight.astimezone(UTC)
        if end_at is None:
            sums.unfinished.add(account)
    return sums


def _seconds(begin: datetime, until: datetime) -> int:
    return int((until - begin).total_seconds())


def differences_to_charges(window: Window, sums: Sums) -> Iterator[str]:
    """Account by account and day by day: what the runs say against what was charged."""
    charges = RunCharge.objects.filter(run__cluster=window.cluster, day__gte=window.first, day__lte=window.last)
    charged: dict[tuple[str, date], int] = {
        (account, day): seconds
        for account, day, seconds in charges.order_by().values_list("run__account", "day").annotate(sum=Sum("seconds"))
    }
    covered: dict[str, list[tuple[date, date]]] = defaultdict(list)
    for account, first, last in (
        Allocation.objects.not_void().filter(pool__cluster=window.cluster).values_list("account", "start_on", "end_on")
    ):
        covered[account].append((first, last))
    for _pool, account, _allocation, first, last in DrawingAccount.objects.spans(window.cluster):
        covered[account].append((first, last))
    for account, day in sorted(sums.by_day.keys() | charged.keys()):
        due, is_charged = sums.by_day.get((account, day), 0), charged.get((account, day), 0)
        if due == is_charged:
            continue
        if due < is_charged:
            cause = "more was charged than the runs say; run “manage.py verify_ledger”"
        elif any(first <= day <= last for first, last in covered[account]):
            cause = "part of it ran on GPUs of a pool for which the account has no allocation that day"
        else:
            cause = "no allocation covers the account that day; open one, or let the account draw on another"
        yield f"{account} on {day}: the runs say {due} GPU-seconds, {is_charged} are charged; {cause}."


def read_sreport(lines: Iterable[str], cluster: Cluster) -> dict[str, int]:
    """GPU-seconds by account of `sreport -n -P -t seconds cluster AccountUtilizationByUser -T gres/gpu`.

    Rows of an account include its users and sub-accounts, so only rows with a login are summed. Raises
    UnreadableReport for a line that is neither such a row nor a heading, and for hours instead of seconds.
    """
    sums: dict[str, int] = defaultdict(int)
    for number, line in enumerate(lines, start=1):
        cells = line.rstrip("\r\n").split("|")
        if len(cells) == 1:
            if cells[0].startswith("Usage reported in") and "Seconds" not in cells[0]:
                raise UnreadableReport(f"Line {number}: “{cells[0]}”. Ask sreport for seconds: -t seconds.")
            continue  # with -n there is no heading; without it dashes and titles
        if cells[0] == "Cluster":
            continue
        if len(cells) != SREPORT_COLUMNS or not cells[5].isdecimal():
            raise UnreadableReport(
                f"Line {number} is not Cluster|Account|Login|Proper Name|TRES Name|Used. Use: sreport -n -P -t seconds "
                f"cluster AccountUtilizationByUser -T {GPU_TRES} start=… end=…"
            )
        if cells[0] == cluster.code and cells[2] and cells[4] == GPU_TRES:
            sums[cells[1]] += int(cells[5])
    return dict(sums)


def differences_to_slurm(window: Window, sums: Sums, slurm: dict[str, int]) -> Iterator[tuple[bool, str]]:
    """The runs of the window against Slurm's own sums: (whether it is explained, sentence), for what is not equal."""
    known_until = UsageImport.objects.latest_as_of().get(window.cluster.pk)
    for account in sorted(sums.by_account.keys() | slurm.keys()):
        ours, theirs = sums.by_account.get(account, 0), slurm.get(account)
        resized = sums.resized.get(account, 0)
        if theirs == ours:
            continue
        said = f"{account}: the runs say {ours} GPU-seconds, Slurm says {theirs or 0}"
        if theirs is None:
            yield False, f"{said}; sreport has no row: its association was deleted, or the hour is not rolled up yet."
        elif resized and theirs == ours + resized:
            yield True, f"{said}; explained: sreport counts {resized} GPU-seconds of resized jobs twice."
        elif theirs > ours and (known_until is None or known_until < window.end):
            until = known_until.astimezone(window.cluster.zone).isoformat() if known_until else "never"
            yield False, f"{said}; usage is imported only until {until}: import a newer export."
        elif theirs > ours:
            yield False, f"{said}; runs are missing: was an export made without --duplicates, or is a night missing?"
        elif account in sums.unfinished:
            yield False, f"{said}; jobs are running: sreport knows finished hours only, so compare past days."
        else:
            yield False, f"{said}; sreport has not rolled up the last hours, or its rows were removed with their users."
