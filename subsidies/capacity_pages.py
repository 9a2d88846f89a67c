"""The capacity board of the desk: what is promised of the machines, month by month, and what would be.

The address carries all that is chosen: `from` is the first month (2026-01), `application` the number of an application
to be looked at, as often as there are some. The CSV at the same choice holds exactly the figures of the page.
"""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from allocations.commitments import Month
from centre import days
from centre.charts import difference, percentage
from centre.exports import Parameters, csv_chunks
from centre.http import signed_in
from centre.models import User
from centre.templatetags.portal import gpu_hours, percent
from subsidies import capacity_board
from subsidies.capacity_board import Asked, Board, Load, PoolBoard, PoolMonth
from subsidies.capacity_csv import report_of
from subsidies.models import Application

MONTHS_EITHER_WAY = 24
FIRST, LAST = Month.of(days.FIRST), Month.of(days.LAST).plus(-capacity_board.MONTHS_SHOWN)


class BadMonth(ValueError):
    """A month that cannot be read; the message is a sentence for the reader."""


@dataclass(frozen=True)
class Asking:
    """What an address asks the board for."""

    board: Board
    visible: list[Application]
    first: Month
    gone: int  # numbers in the address that are no longer in assessment, or not this person's to see
    problem: str = ""


@dataclass(frozen=True)
class Stretches:
    """The bar of a month, in per cent of the pool's longest: available, committed, beyond it, and asked for on top."""

    available: str
    committed: str
    over: str
    over_start: str
    added: str
    added_start: str


@dataclass(frozen=True)
class ShownMonth:
    """A line of the board with its words."""

    line: PoolMonth
    name: str
    bar: Stretches
    over: str
    would_be_over: str

    @property
    def has_bar(self) -> bool:
        """Whether there is anything to draw: something available, promised or asked for."""
        return bool(self.line.available or self.line.if_approved.seconds)


@dataclass(frozen=True)
class ShownPool:
    """A pool with its lines; those that are over, and those that are not and would be."""

    board: PoolBoard
    months: list[ShownMonth]
    over: list[ShownMonth]
    would_be_over: list[ShownMonth]


@dataclass(frozen=True)
class ShownApplication:
    """An application that can be looked at: what it asks for, pool by pool in GPU-seconds."""

    row: Application
    hours: list[tuple[str, int]]
    is_chosen: bool
    is_outside: bool


@require_safe
def capacity(request: HttpRequest) -> HttpResponse:
    """The board, with the applications to try out."""
    user, now = for_whom(request), timezone.now()
    asking = read(request, user, now)
    board, this_month = asking.board, Month.of(timezone.localdate(now))
    pools = [shown_pool(pool) for pool in board.pools]
    context = {
        "section": "desk",
        "now": now,
        "board": board,
        "pools": pools,
        "applications": shown_applications(asking),
        "hidden": len({asked.application for asked in board.asks} - {row.pk for row in asking.visible}),
        "gone": asking.gone,
        "problem": asking.problem,
        "first": month_name(board.months[0]),
        "last": month_name(board.months[-1]),
        "months_to_choose": months_to_choose(asking.first, this_month),
        "is_this_month": asking.first == this_month,
        "earlier": query_of(max(asking.first.plus(-capacity_board.MONTHS_SHOWN), FIRST), asking),
        "later": query_of(min(asking.first.plus(capacity_board.MONTHS_SHOWN), LAST), asking),
        "this_month": query_of(this_month, asking),
        "without_choice": query_of(asking.first),
        "query": query_of(asking.first, asking),
        "may_open": user.has_perm("subsidies.view_application"),
        "may_change_capacity": user.has_perm("centre.view_gpupool"),
        "may_add_pool": user.has_perm("centre.add_gpupool"),
    }
    return render(request, "desk/capacity.html", context, status=400 if asking.problem else 200)


@require_safe
def capacity_csv(request: HttpRequest) -> HttpResponseBase:
    """The figures of the page as a file."""
    user, now = for_whom(request), timezone.now()
    asking = read(request, user, now)
    if asking.problem:
        return HttpResponse(f"{asking.problem}\n", status=400, content_type="text/plain; charset=utf-8")
    report = report_of(asking.board)
    response = StreamingHttpResponse(csv_chunks(report, Parameters()), content_type="text/csv; charset=utf-8")
    name = f"capacity_from-{asking.first.code}.csv"
    response["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    response["Cache-Control"] = "private, no-store"
    return response


def for_whom(request: HttpRequest) -> User:
    """Staff who plan with the machines see what everything adds up to; for everybody else the board is not there."""
    user = signed_in(request)
    if not user.has_perm("allocations.view_capacityboard"):
        raise Http404
    return user


def read(request: HttpRequest, user: User, now: datetime) -> Asking:
    """The board that the address asks for; a month that cannot be read is this one, with the problem said."""
    problem, first = "", Month.of(timezone.localdate(now))
    try:
        first = read_month(request.GET.get("from", "")) or first
    except BadMonth as error:
        problem = str(error)
    visible = capacity_board.visible_in_assessment(user)
    wanted = set(request.GET.getlist("application"))
    chosen = {row.pk for row in visible if row.number in wanted}
    board = capacity_board.board(first=first, at=now, chosen=chosen)
    return Asking(board=board, visible=visible, first=first, gone=len(wanted) - len(chosen), problem=problem)


def read_month(text: str) -> Month | None:
    """A month of an address, such as 2026-01; None for nothing. Raises BadMonth."""
    if not text:
        return None
    year, dash, number = text.partition("-")
    if dash and len(year) == 4 and len(number) == 2 and (year + number).isascii() and (year + number).isdigit():
        month = Month(int(year), int(number))
        if 1 <= month.number <= 12 and FIRST <= month <= LAST:
            return month
    raise BadMonth(
        _("“%(text)s” is not a month that the board can begin with; write it as YYYY-MM, such as 2026-01.")
        % {"text": text[:40]}
    )


def query_of(first: Month, asking: Asking | None = None) -> str:
    """The query of an address with that first month and what is chosen."""
    numbers = [row.number for row in asking.visible if row.pk in asking.board.chosen] if asking else []
    return "?" + urlencode([("from", first.code), *(("application", number) for number in numbers)])


def months_to_choose(first: Month, this_month: Month) -> list[tuple[str, str, bool]]:
    """What the board may begin with: code, name, whether it does."""
    around = {this_month.plus(nth) for nth in range(-MONTHS_EITHER_WAY, MONTHS_EITHER_WAY + 1)} | {first}
    return [(month.code, month_name(month), month == first) for month in sorted(around)]


def month_name(month: Month) -> str:
    return date_format(month.first_on, "YEAR_MONTH_FORMAT")


def shown_pool(pool: PoolBoard) -> ShownPool:
    months = [
        ShownMonth(
            line=line,
            name=month_name(line.month),
            bar=stretches(line, pool.scale),
            over=over_in_words(line.committed),
            would_be_over=over_in_words(line.if_approved),
        )
        for line in pool.months
    ]
    return ShownPool(
        board=pool,
        months=months,
        over=[month for month in months if month.over],
        would_be_over=[month for month in months if month.would_be_over and not month.over],
    )


def stretches(line: PoolMonth, scale: int) -> Stretches:
    committed, total = line.committed.whole_seconds, line.if_approved.whole_seconds
    inside = min(committed, line.available)
    available, used, all_of_it, beyond = (
        percentage(seconds, scale) for seconds in (line.available, inside, total, committed)
    )
    return Stretches(
        available=available,
        committed=used,
        over_start=used,
        over=difference(beyond, used),
        added_start=beyond,
        added=difference(all_of_it, beyond),
    )


def over_in_words(load: Load) -> str:
    """By how much a month is over, such as “over by 1,200 GPU-hours (5.2 %)”; nothing when it is not."""
    if not load.is_over:
        return ""
    if load.over < 1800:
        return _("over by less than 1 GPU-hour")
    hours = gpu_hours(load.over)
    if load.over_bp is None:
        return _("over by %(hours)s GPU-hours; nothing is available") % {"hours": hours}
    return _("over by %(hours)s GPU-hours (%(share)s)") % {"hours": hours, "share": percent(load.over_bp)}


def shown_applications(asking: Asking) -> list[ShownApplication]:
    """What can be tried out, with what each asks for."""
    board = asking.board
    names = {pool.pool.pk: str(pool.pool) for pool in board.pools}
    asks: dict[int, Asked] = {asked.application: asked for asked in board.asks}
    first_on, last_on = board.months[0].first_on, board.months[-1].last_on
    return [
        ShownApplication(
            row=row,
            hours=[(names[pool], seconds) for pool, seconds in asks[row.pk].seconds.items()],
            is_chosen=row.pk in board.chosen,
            is_outside=asks[row.pk].end_on < first_on or asks[row.pk].start_on > last_on,
        )
        for row in asking.visible
        if row.pk in asks
    ]
