"""The job runs of one project: which are its own, and how they are walked, newest first, however many there are.

Each Slurm account is walked along its index from the newest run on. What a filter keeps may be rare, so one page looks
at a bounded number of runs and then says how far back it came; the next page goes on from there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Prefetch, Q, QuerySet, Subquery, Sum, prefetch_related_objects
from django.db.models.expressions import OuterRef, RawSQL
from django.db.models.functions import Coalesce
from django.utils.translation import pgettext_lazy

from allocations.models import Allocation, DrawingAccount, JobRun, RunCharge
from allocations.models.usage import STATES_OF_OUTCOMES, Outcome
from allocations.tables import RunTable
from centre.models import Cluster, Project
from centre.tables import InstantColumn
from centre.templatetags.portal import NOTHING

ROWS = 50
LOOKED_THROUGH = 8_000  # runs that a page looks at, of all accounts together
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
LONGEST_NUMBER = 18  # digits; a job number is smaller

Accounts = Mapping[tuple[int, str], bool]


def drawing_allocations(project: Project) -> list[Allocation]:
    """A project's allocations, void ones too, with pool, `books_as_of` and further accounts; two queries."""
    rows = allocations_of(project)
    add_accounts(rows)
    return rows


def allocations_of(project: Project) -> list[Allocation]:
    """The same without their further accounts; one query."""
    rows = Allocation.objects.filter(project=project).with_shared_account().with_as_of()
    return list(rows.select_related("pool__cluster__site").order_by("-end_on", "-start_on", "reference"))


def add_accounts(allocations: list[Allocation]) -> None:
    """Their further accounts; one query."""
    further = DrawingAccount.objects.standing().order_by("account", "from_on")
    prefetch_related_objects(allocations, Prefetch("drawing_accounts", further))


def accounts_of(allocations: Iterable[Allocation]) -> dict[tuple[int, str], bool]:
    """(cluster, Slurm account) of the project's runs, and whether they may be another project's, too.

    Of a further account, which draws for some days and on some pools only, just what was charged here is the project's.
    """
    rows = [row for row in allocations if row.state != Allocation.State.VOID]
    further = {(row.pool.cluster_id, drawn.account): True for row in rows for drawn in row.drawing_accounts.all()}
    return further | {(row.pool.cluster_id, row.account): row.account_is_shared for row in rows}


@dataclass(frozen=True)
class Place:
    """A place in the list: right after the run with this number, submitted at this instant."""

    submit_at: datetime
    number: int

    def __str__(self) -> str:
        return f"{(self.submit_at - EPOCH) // MICROSECOND}-{self.number}"


def place_in(text: str) -> Place | None:
    """A place as the address has it; None for one that cannot be read."""
    instant, dash, number = text.partition("-")
    if not dash or not (is_number(instant) and is_number(number)):
        return None
    try:
        return Place(EPOCH + int(instant) * MICROSECOND, int(number))
    except OverflowError:
        return None


def is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER


@dataclass(frozen=True)
class Wanted:
    """What of a project's runs is asked for.

    `charged_to` are numbers of allocations, None for every run; `text` a part of the job's name, or its number, which
    is found whenever it was submitted.
    """

    since: datetime
    before: datetime
    text: str = ""
    member: str = ""
    outcome: Outcome | None = None
    charged_to: tuple[int, ...] | None = None
    after: Place | None = None

    @property
    def is_narrow(self) -> bool:
        return bool(self.text or self.member or self.outcome or self.charged_to is not None)


@dataclass(frozen=True)
class RunPage:
    """Runs, newest first; where the next page begins; how far back was looked when the page is not full."""

    runs: list[JobRun]
    onward: Place | None = None
    looked_back_to: datetime | None = None
    by_number: bool = False  # found by job number, whatever the days


def page_of(allocations: list[Allocation], wanted: Wanted) -> RunPage:
    """A page of the runs of these allocations' accounts; at most three queries."""
    accounts = accounts_of(allocations)
    if not accounts:
        return RunPage([])
    own = [row.pk for row in allocations]
    submitted = submissions(accounts, wanted.text, own)
    if submitted:
        parts = [
            narrowed(of_account(key, wanted.after).filter(submit_at__in=submitted), wanted, own, shared=shared)
            for key, shared in accounts.items()
        ]
        runs = newest([part.filter(of_number(wanted.text)) for part in parts], own)
        if runs:
            return cut(runs, by_number=True)
    walks = {
        key: of_account(key, wanted.after).filter(submit_at__gte=wanted.since, submit_at__lt=wanted.before)
        for key in accounts
    }
    is_rare = wanted.is_narrow or any(accounts.values())
    end = end_of_walk(list(walks.values())) if is_rare else None
    parts = []
    for key, walk in walks.items():
        near = walk.filter(submit_at__gte=end) if end else walk
        near = narrowed(near, wanted, own, shared=accounts[key])
        parts.append(near.filter(of_text(wanted.text)) if wanted.text else near)
    return cut(newest(parts, own), end=end)


def of_account(key: tuple[int, str], after: Place | None) -> QuerySet[JobRun]:
    cluster, account = key
    runs = JobRun.objects.filter(cluster=cluster, account=account)
    if after is None:
        return runs
    # The first part is what the index understands.
    later = Q(submit_at__lt=after.submit_at) | Q(id__lt=after.number)
    return runs.filter(later, submit_at__lte=after.submit_at)


def narrowed(runs: QuerySet[JobRun], wanted: Wanted, own: list[int], *, shared: bool) -> QuerySet[JobRun]:
    """The runs that the filters keep; of a shared account only those that the project was charged for."""
    if wanted.member:
        runs = runs.filter(user_name=wanted.member)
    if wanted.outcome:
        runs = runs.filter(ended(wanted.outcome))
    charged_to = own if wanted.charged_to is None else [pk for pk in wanted.charged_to if pk in own]
    if shared or wanted.charged_to is not None:
        charge = charges_of_run(charged_to)
        # Not Exists(): PostgreSQL would make a join of it and read all charges of the allocations.
        runs = runs.alias(charge=Subquery(charge.values("pk")[:1])).filter(charge__isnull=False)
    return runs


def ended(outcome: Outcome) -> Q:
    """`allocations.models.usage.outcome_of` as a filter."""
    if outcome == Outcome.UNFINISHED:
        return Q(finished=False)
    known = {each: Q() for each in STATES_OF_OUTCOMES}
    for each, states in STATES_OF_OUTCOMES.items():
        for state in states:
            known[each] |= Q(state=state) | Q(state__startswith=f"{state} ")
    if outcome in known:
        return Q(finished=True) & known[outcome]
    any_known = Q()
    for of_outcome in known.values():
        any_known |= of_outcome
    return Q(finished=True) & ~any_known


def submissions(accounts: Accounts, text: str, own: list[int]) -> list[datetime]:
    """When the project's job with this number was submitted; all tasks of an array were submitted when it was."""
    number = text.partition("_")[0]
    if not is_number(number):
        return []
    clusters = {cluster for cluster, _account in accounts}
    names = {account for _cluster, account in accounts}
    runs = JobRun.objects.filter(cluster__in=clusters, job_id_raw=int(number), account__in=names)
    if any(accounts.values()):
        runs = runs.alias(charge=Subquery(charges_of_run(own).values("pk")[:1]))
        alone = Q()
        for (cluster, account), shared in accounts.items():
            alone |= Q(cluster=cluster, account=account) & (Q(charge__isnull=False) if shared else Q())
        runs = runs.filter(alone)
    return list(runs.order_by("-submit_at").values_list("submit_at", flat=True)[:ROWS])


def charges_of_run(allocations: Iterable[int]) -> QuerySet[RunCharge]:
    """The charges to these allocations of the run of the query around."""
    return RunCharge.objects.filter(run=OuterRef("pk"), allocation__in=list(allocations)).order_by()


def of_number(text: str) -> Q:
    """The run of a job number, with all tasks of an array, or one task such as 1234_7."""
    if "_" in text:
        return Q(job_id=text)
    return Q(job_id_raw=int(text)) | Q(job_id__startswith=f"{text}_")


def of_text(text: str) -> Q:
    return Q(job_name__icontains=text) | Q(job_id__startswith=text)


def end_of_walk(walks: list[QuerySet[JobRun]]) -> datetime | None:
    """The instant back to which every account can be looked through; None: all of it. One query, of the index."""
    each = max(LOOKED_THROUGH // len(walks), 1)
    ends = {
        f"end_{nth}": Subquery(walk.order_by("-submit_at").values("submit_at")[each : each + 1])
        for nth, walk in enumerate(walks)
    }
    found = Cluster.objects.order_by("pk").annotate(**ends).values_list(*ends)[:1].get()
    return max((end for end in found if end is not None), default=None)


def newest(parts: list[QuerySet[JobRun]], own: list[int]) -> list[Any]:
    """The first of all these runs and one more than a page holds, each with its member and `charged_seconds`."""
    texts: list[str] = []
    values: list[Any] = []
    for nth, part in enumerate(parts):
        sql, given = part.order_by("-submit_at", "-id").values("id")[: ROWS + 1].query.sql_with_params()
        # Written here because on SQLite the ORM does not join limited queries itself.
        texts.append(f"SELECT * FROM ({sql}) AS part{nth}")  # noqa: S608  no text from outside
        values += given
    found = JobRun.objects.filter(id__in=RawSQL(" UNION ALL ".join(texts), values))  # noqa: S611
    seconds = charges_of_run(own).values("run").annotate(sum=Sum("seconds")).values("sum")
    named = found.annotate(charged_seconds=Coalesce(Subquery(seconds), 0)).with_member_names()
    return list(named.order_by("-submit_at", "-id")[: ROWS + 1])


def cut(runs: list[Any], *, end: datetime | None = None, by_number: bool = False) -> RunPage:
    """A page of what was found; where there is not enough for one, the next goes on where the walk ended."""
    shown = runs[:ROWS]
    if len(runs) > ROWS:
        return RunPage(shown, Place(shown[-1].submit_at, shown[-1].pk), by_number=by_number)
    return RunPage(shown, Place(end, 0) if end else None, end, by_number)


class TeamRunTable(RunTable):
    """A page of a project's job runs, with their ends."""

    ended = InstantColumn(accessor="end_at", default=NOTHING, verbose_name=pgettext_lazy("time of a run", "Ended"))

    class Meta:
        orderable = False
        sequence = ("run", "state", "member", "gpus", "hours", "started", "ended")
