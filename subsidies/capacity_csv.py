"""The capacity board as a table: one row per pool and month, with the figures that the page shows."""

from collections.abc import Iterator

from django.utils.translation import gettext_lazy as _

from centre.exports import Column, Kind, Parameters, Report, Row
from subsidies.capacity_board import Board, PoolBoard, PoolMonth

COLUMNS = (
    Column("site", _("Site"), _("The code of the site."), Kind.CODE),
    Column("cluster", _("Cluster"), _("The code of the cluster, whose days these are."), Kind.CODE),
    Column("pool", _("GPU pool"), _("The code of the GPU pool."), Kind.CODE),
    Column("month", _("Month"), _("The calendar month."), Kind.CODE),
    Column("gpus_first_day", _("GPUs on the first day"), _("GPUs in service, outages aside."), Kind.COUNT),
    Column("gpus_last_day", _("GPUs on the last day"), _("GPUs in service, outages aside."), Kind.COUNT),
    Column(
        "outage_gpu_hours",
        _("Lost to outages"),
        _("GPU-hours that the GPUs in service do not give because of recorded outages."),
        Kind.HOURS,
    ),
    Column("available_gpu_hours", _("Available"), _("GPU-hours of the GPUs in service, less outages."), Kind.HOURS),
    Column(
        "committed_gpu_hours",
        _("Committed"),
        _("GPU-hours granted, spread evenly over the days of each allocation’s period; void allocations left out."),
        Kind.HOURS,
    ),
    Column("committed_percent", _("Committed share"), _("Committed over available."), Kind.PERCENT),
    Column("used_gpu_hours", _("Used"), _("GPU-hours charged for the days of the month."), Kind.HOURS),
    Column(
        "used_percent", _("Used share"), _("Used over available; empty until the whole month is known."), Kind.PERCENT
    ),
    Column(
        "books_as_of",
        _("Usage as of"),
        _("The latest import of the cluster’s usage; empty before the first."),
        Kind.INSTANT,
    ),
    Column(
        "left_free_gpu_hours",
        _("Left free"),
        _("Available less committed; below zero when more is committed than available."),
        Kind.HOURS,
    ),
    Column("over_gpu_hours", _("Over-committed by"), _("Committed beyond what is available."), Kind.HOURS),
    Column("over_percent", _("Over-committed share"), _("The same over what is available."), Kind.PERCENT),
    Column(
        "asked_gpu_hours",
        _("Asked for"),
        _("GPU-hours that all applications in assessment ask for, spread evenly over the period that each asks for."),
        Kind.HOURS,
    ),
    Column(
        "chosen_gpu_hours",
        _("Chosen"),
        _("The part of it that the chosen applications ask for; empty when none are chosen."),
        Kind.HOURS,
    ),
    Column(
        "if_approved_gpu_hours",
        _("If approved"),
        _("Committed and chosen; when none are chosen, committed and all that is asked for."),
        Kind.HOURS,
    ),
    Column("if_approved_percent", _("Share if approved"), _("The same over what is available."), Kind.PERCENT),
    Column(
        "over_if_approved_gpu_hours", _("Over if approved by"), _("If approved, beyond what is available."), Kind.HOURS
    ),
    Column("as_of", _("As of"), _("When the board was read."), Kind.INSTANT),
)


def report_of(board: Board) -> Report:
    """The board as a report, whose rows are already there."""

    def rows(parameters: Parameters) -> Iterator[Row]:
        return (row_of(board, pool, line) for pool in board.pools for line in pool.months)

    return Report(
        name="capacity",
        title=_("Capacity"),
        description=_("What is available, committed, used and asked for, per GPU pool and month."),
        days=_("The months of the board."),
        columns=COLUMNS,
        rows=rows,
    )


def row_of(board: Board, pool: PoolBoard, line: PoolMonth) -> Row:
    committed, used, approved = line.committed.share, line.used_share, line.if_approved.share
    cluster = pool.pool.cluster
    return (
        cluster.site.code,
        cluster.code,
        pool.pool.code,
        line.month.code,
        line.gpus_first,
        line.gpus_last,
        line.lost,
        line.available,
        line.committed.whole_seconds,
        committed.bp if committed else None,
        line.used,
        used.bp if used else None,
        pool.books_as_of,
        line.committed.left,
        line.committed.over,
        line.committed.over_bp,
        line.asked_seconds,
        line.chosen_seconds,
        line.if_approved.whole_seconds,
        approved.bp if approved else None,
        line.if_approved.over,
        board.at,
    )
