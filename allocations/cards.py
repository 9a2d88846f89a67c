"""What is read for the cards of allocations (allocations.quota): for the page of one project, and for lists."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

from django.db.models import Prefetch
from django.utils import timezone
from django.utils.translation import gettext as _

from allocations.models import Allocation, DailyUsage, DrawingAccount
from allocations.models.allocation import AllocationQuerySet
from allocations.quota import CHART_DAYS, Card, day_today, usage_chart
from allocations.take_back_cases import warnings_that_count
from centre.charts import BarChart
from centre.models import Centre, Project
from centre.models.facility import WhenUsedUp

PerDay = Mapping[int, Mapping[date, int]]


def cards_of(project: Project, *, at: datetime, centre: Centre | None) -> list[Card]:
    """Every allocation of a project that is not void, those that end last first; four queries.

    Each allocation's project and tenant are the ones given, which are loaded.
    """
    rows = Allocation.objects.filter(project=project).not_void().with_running().with_shared_account()
    rows = rows.prefetch_related(
        Prefetch("take_back_warnings", warnings_that_count().select_related("rule")),
        Prefetch("drawing_accounts", DrawingAccount.objects.standing().order_by("account", "from_on")),
    )
    found = list(ready(rows).order_by("-end_on", "pool__code", "reference"))
    per_day = used_lately(found, at=at)
    return [
        card_of(
            allocation,
            project=project,
            at=at,
            centre=centre,
            per_day=per_day,
            running=allocation.running_seconds,
            account_is_shared=allocation.account_is_shared,
            is_told=True,
        )
        for allocation in found
    ]


def current_cards(projects: Sequence[Project], *, at: datetime, centre: Centre | None) -> dict[int, list[Card]]:
    """The allocations of some projects that are not over yet, by the project's number; two queries.

    What runs now and what will be taken back is not asked for.
    """
    by_number = {project.pk: project for project in projects}
    yesterday = timezone.localdate(at) - timedelta(days=1)  # the earliest day that it can be anywhere
    rows = Allocation.objects.filter(project__in=by_number, end_on__gte=yesterday).not_void()
    found = list(ready(rows.exclude(state=Allocation.State.CLOSED)).order_by("end_on", "pool__code", "reference"))
    per_day = used_lately(found, at=at)
    cards: dict[int, list[Card]] = {}
    for allocation in found:
        card = card_of(allocation, project=by_number[allocation.project_id], at=at, centre=centre, per_day=per_day)
        if not card.is_over:
            cards.setdefault(allocation.project_id, []).append(card)
    return cards


def cards_in_list(rows: Sequence[Allocation], *, at: datetime, centre: Centre | None) -> dict[int, Card]:
    """A card for each row of a list (see `ready`), whose project and tenant are loaded; by number. One query.

    What runs now is not asked for.
    """
    per_day = used_lately(rows, at=at)
    return {row.pk: card_of(row, project=row.project, at=at, centre=centre, per_day=per_day) for row in rows}


def ready(rows: AllocationQuerySet) -> AllocationQuerySet:
    """With what every card needs of the machine and its books."""
    return rows.with_as_of().select_related("pool__cluster__site")


def card_of(
    allocation: Allocation,
    *,
    project: Project,
    at: datetime,
    centre: Centre | None,
    per_day: PerDay,
    running: int = 0,
    account_is_shared: bool = False,
    is_told: bool = False,
) -> Card:
    """The card of one row; `is_told`: its warnings were read with it."""
    allocation.project = project
    return Card(
        project=project,
        allocation=allocation,
        running=running,
        account_is_shared=account_is_shared,
        on=day_today(allocation.pool, at),
        as_of=allocation.books_as_of,
        when_used_up=centre.when_used_up if centre else WhenUsedUp.SLOWED,
        per_day=per_day.get(allocation.pk, {}),
        warning=next(iter(allocation.take_back_warnings.all()), None) if is_told else None,
    )


def used_lately(allocations: Sequence[Allocation], *, at: datetime) -> PerDay:
    """GPU-seconds per allocation and day, from 30 full days before the books of the oldest cluster end."""
    if not allocations:
        return {}
    first_on = min(last_day(row, at=at) for row in allocations) - timedelta(days=CHART_DAYS)
    return DailyUsage.objects.filter(allocation__in=allocations).per_allocation_and_day(first_on=first_on)


def last_day(allocation: Allocation, *, at: datetime) -> date:
    """The day on which the books of its cluster end; today where there are none."""
    return day_today(allocation.pool, allocation.books_as_of or at)


def accounts_of(cards: Iterable[Card]) -> dict[tuple[int, str], bool]:
    """(cluster, Slurm account) of whose runs a project's page tells, and whether they may be another project's, too.

    Of a further account, which draws for some days and on some pools only, just what was charged here is the project's.
    """
    cards = list(cards)
    further = {
        (card.allocation.pool.cluster_id, drawing.account): True
        for card in cards
        for drawing in card.allocation.drawing_accounts.all()
    }
    named = {(card.allocation.pool.cluster_id, card.allocation.account): card.account_is_shared for card in cards}
    return further | named


def charts_of(cards: Sequence[Card], *, at: datetime) -> list[BarChart]:
    """Usage per day of the last 30 days that the books reach, a chart for each pool used; none before any use."""
    if not any(card.allocation.used_seconds for card in cards):
        return []
    pools = {card.allocation.pool: last_day(card.allocation, at=at) for card in cards}
    per_pool: dict[int, dict[date, int]] = {}
    for card in cards:
        first_on = pools[card.allocation.pool] - timedelta(days=CHART_DAYS - 1)
        sums = per_pool.setdefault(card.allocation.pool_id, {})
        for day, seconds in card.per_day.items():
            if day >= first_on:
                sums[day] = sums.get(day, 0) + seconds
    lately = [pool for pool in pools if per_pool[pool.pk]] or list(pools)[:1]
    title = _("Used per day, last 30 days")
    return [
        usage_chart(
            title=title if len(lately) == 1 else f"{title}: {pool.gpu_model}",
            per_day=per_pool[pool.pk],
            last_on=pools[pool],
        )
        for pool in sorted(lately, key=lambda pool: pool.code)
    ]
