"""The list of allocations as a file: every row that it shows, over all its pages, searched, filtered and ordered alike.

Read in pieces, each with one query for the days that pace and outlook come from. Headings and codes are the same in
every language; a tenant's name stands in each of its own.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Final

from django.db.models import QuerySet

from allocations.admin.allocation_list import basis_points
from allocations.cards import cards_in_list
from allocations.models import Allocation
from allocations.quota import Card, Phase
from centre.amounts import rounded
from centre.exports import Column, Kind, Parameters, Report, Row, csv_chunks
from centre.models import Centre

ROWS_AT_A_TIME: Final = 500
COLUMNS: Final = (
    Column("reference", "", "", Kind.CODE),
    Column("account", "", "", Kind.CODE),
    Column("project", "", "", Kind.CODE),
    Column("project_title", "", ""),
    Column("tenant", "", "", Kind.CODE),
    Column("tenant_name_en", "", ""),
    Column("tenant_name_zh_hant", "", ""),
    Column("tenant_name_zh_hans", "", ""),
    Column("pool", "", "", Kind.CODE),
    Column("funding", "", "", Kind.CHOICE, dict(Allocation.Funding.choices)),
    Column("state", "", "", Kind.CHOICE, dict(Allocation.State.choices)),
    Column("standing", "", "", Kind.CHOICE, dict(Phase.choices)),
    Column("start_on", "", "", Kind.DAY),
    Column("end_on", "", "", Kind.DAY),
    Column("days_until_the_last_day", "", "", Kind.COUNT),
    Column("granted_gpu_seconds", "", "", Kind.SECONDS),
    Column("used_gpu_seconds", "", "", Kind.SECONDS),
    Column("held_gpu_seconds", "", "", Kind.SECONDS),
    Column("left_gpu_seconds", "", "", Kind.SECONDS),
    Column("granted_gpu_hours", "", "", Kind.HOURS),
    Column("used_gpu_hours", "", "", Kind.HOURS),
    Column("held_gpu_hours", "", "", Kind.HOURS),
    Column("left_gpu_hours", "", "", Kind.HOURS),
    Column("used_percent", "", "", Kind.PERCENT),
    Column("left_percent", "", "", Kind.PERCENT),
    Column("used_gpu_hours_a_day", "", "", Kind.HOURS),  # over the last 30 full days that the books know
    Column("outlook", "", "", Kind.CODE),  # see allocations.forecast.Outlook
    Column("runs_out_earliest_on", "", "", Kind.DAY),
    Column("runs_out_latest_on", "", "", Kind.DAY),
)
"""Their titles and meanings are the list's own; the names are the headings of the file, for ever."""


def as_file(shown: QuerySet[Allocation], *, at: datetime, centre: Centre | None) -> Iterator[bytes]:
    """What a list shows, as CSV in pieces; `shown` is ready for cards (allocations.cards.ready)."""

    def rows(_parameters: Parameters) -> Iterator[Row]:
        found = shown.iterator(chunk_size=ROWS_AT_A_TIME)
        while some := list(islice(found, ROWS_AT_A_TIME)):
            cards = cards_in_list(some, at=at, centre=centre)
            yield from (line_of(cards[row.pk]) for row in some)

    return csv_chunks(Report(name="", title="", description="", days="", columns=COLUMNS, rows=rows), Parameters())


def line_of(card: Card) -> Row:
    """One allocation; shares are empty where nothing was granted, the pace where no full day is known."""
    allocation, project, tenant = card.allocation, card.project, card.project.tenant
    granted, used, left = allocation.granted_seconds, allocation.used_seconds, allocation.available_seconds
    pace, outlook = card.forecast.long, card.forecast
    totals = (granted, used, allocation.held_seconds, left)
    return (
        *(allocation.reference, allocation.account, project.code, project.title),
        *(tenant.code, tenant.name_en, tenant.name_zh_hant, tenant.name_zh_hans),
        *(allocation.pool.code, allocation.funding, allocation.state, card.phase.value),
        *(allocation.start_on, allocation.end_on, (allocation.end_on - card.on).days),
        *totals,
        *totals,
        *(basis_points(used, granted), basis_points(left, granted)),
        rounded(pace.seconds, pace.days) if pace.days else None,
        *(outlook.outlook.value, outlook.earliest_on, outlook.latest_on),
    )
