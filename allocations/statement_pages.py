"""The statements of a project: its months; one month, to read and to print; its file.

An issued statement is shown from its stored content alone, so it stays the same whatever is learnt later. A month that
is not issued is worked out from the books of now, and says that it is provisional.
"""

import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime
from itertools import chain
from typing import Any

import django_tables2
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.formats import date_format
from django.utils.functional import cached_property
from django.utils.http import content_disposition_header
from django.utils.translation import get_language, gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from allocations.issuing import month_text
from allocations.ledger_words import KINDS, SAID_MORE_PRECISELY
from allocations.models import Allocation, Statement
from allocations.statement_file import as_report
from allocations.statement_money import OWN, together
from allocations.statements import first_day, left, months_to_tell, provisional, sum_of
from centre.days import FIRST, LAST
from centre.exports import Parameters, csv_chunks
from centre.tables import BadgeColumn, InstantColumn, Table, show_page
from centre.team_pages import TeamPage, team_page
from centre.templatetags.portal import NOTHING, written_instant

MONTHS_PER_PAGE = 24


# --------------------------------------------------------------------------------------------------- the list


class MonthState(models.TextChoices):
    """Whether a month's statement stands."""

    ISSUED = "issued", pgettext_lazy("statement", "Issued")
    PROVISIONAL = "provisional", pgettext_lazy("statement", "Provisional")


@dataclass(frozen=True)
class Month:
    """A month in the list; without a statement it is provisional."""

    month: date
    code: str
    statement: Statement | None = None

    @property
    def text(self) -> str:
        return month_text(self.month)

    @property
    def url(self) -> str:
        return reverse("statement", args=[self.code, f"{self.month:%Y-%m}"])

    @property
    def state(self) -> "MonthState":
        return MonthState.ISSUED if self.statement else MonthState.PROVISIONAL

    @property
    def number(self) -> str | None:
        return self.statement.number if self.statement else None

    @property
    def issued_at(self) -> datetime | None:
        return self.statement.issued_at if self.statement else None


class MonthTable(Table):
    """The months of a project, the latest first."""

    title = _("Statements")
    text = django_tables2.Column(verbose_name=_("Month"), linkify=lambda record: record.url)
    state = BadgeColumn(verbose_name=_("State"), tones={MonthState.ISSUED: "ok", MonthState.PROVISIONAL: "quiet"})
    number = django_tables2.Column(verbose_name=_("Number"), default=NOTHING, attrs={"td": {"class": "mono"}})
    issued_at = InstantColumn(verbose_name=_("Issued"), default=NOTHING)

    class Meta:
        orderable = False


@require_safe
def statements(request: HttpRequest, code: str) -> HttpResponse:
    """Every month that has something to tell, the current one included."""
    team = team_page(request, code, section="statements")
    issued = list(Statement.objects.filter(project=team.project).order_by("-month").defer("content"))
    for statement in issued:
        statement.project = team.project
    to_tell = months_to_tell(team.project, issued[0] if issued else None, through=this_month(team.at))
    months = [Month(month, code) for month in reversed(to_tell)]
    months += [Month(statement.month, code, statement) for statement in issued]
    table = MonthTable(months)
    show_page(table, request, rows=MONTHS_PER_PAGE)
    return render(request, "projects/statements.html", team.context(table=table, months=months))


def this_month(at: datetime) -> date:
    return first_day(timezone.localdate(at))


# ------------------------------------------------------------------------------------------------ one statement


@dataclass(frozen=True)
class Shown:
    """A statement as it is shown, from its content; `issued` is None for a provisional one."""

    content: dict[str, Any]
    issued: Statement | None

    @property
    def month(self) -> date:
        return date.fromisoformat(self.content["month"])

    @property
    def last_on(self) -> date:
        return date.fromisoformat(self.content["last_on"])

    @property
    def title(self) -> str:
        return gettext("Statement for %(month)s") % {"month": month_text(self.month)}

    @property
    def as_of(self) -> datetime:
        instant = parse_datetime(self.content["as_of"])
        assert instant is not None  # noqa: S101  written by the portal itself
        return instant

    @property
    def project_title(self) -> str:
        return str(self.content["project"]["title"])

    @property
    def tenant(self) -> str:
        """The tenant's name in the reader's language, as it was then."""
        names = self.content["project"]["tenant"]
        return str(names.get(get_language() or "en") or names["en"])

    @cached_property
    def accounts(self) -> list["Account"]:
        code = self.content["project"]["code"]
        so_far = None if self.issued else self.as_of
        found = [Account(line, code, self.month, self.last_on, so_far) for line in self.content["allocations"]]
        return [account for account in found if account.has_something]

    @cached_property
    def money(self) -> list["MoneyRow"]:
        return [MoneyRow(line) for line in self.content["money"] if any(line["this"].values())]

    @property
    def total(self) -> dict[str, int]:
        return together(self.content["money"], "this")

    @property
    def so_far(self) -> dict[str, int]:
        return together(self.content["money"], "so_far")

    @property
    def prices(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.content["prices"]
        return found


@dataclass(frozen=True)
class BalanceRow:
    """A line of the balance: what moved, for which day, GPU-seconds signed by the effect on what is left."""

    text: str
    seconds: int
    day: date | None = None
    url: str = ""
    is_balance: bool = False


@dataclass(frozen=True)
class Share:
    """GPU-seconds used by somebody, or on a day, or both."""

    seconds: int
    person: str = ""
    day: date | None = None


@dataclass(frozen=True)
class Account:
    """An allocation on the statement; `so_far` is how far a provisional one tells, None of one that is issued."""

    line: dict[str, Any]
    code: str
    month: date
    last_on: date
    so_far: datetime | None = None

    @property
    def has_something(self) -> bool:
        line = self.line
        parts = ("given", "usage", "refunds", "holds", "earlier", "earlier_usage", "standing")
        covers = line["start_on"] <= self.last_on.isoformat() and line["end_on"] >= self.month.isoformat()
        return covers or any(line[part] for part in parts) or left(line["opening"]) != 0

    @property
    def funding(self) -> str:
        return str(Allocation.Funding(self.line["funding"]).label)

    @property
    def start_on(self) -> date:
        return date.fromisoformat(self.line["start_on"])

    @property
    def end_on(self) -> date:
        return date.fromisoformat(self.line["end_on"])

    @cached_property
    def balance(self) -> list[BalanceRow]:
        """From the opening to the closing balance; the lines between add up to the difference."""
        line = self.line
        opening = gettext("Left at the beginning of the month")
        rows = [BalanceRow(opening, left(line["opening"]), self.month, is_balance=True)]
        rows += [self._entry(entry) for entry in line["given"]]
        rows.append(BalanceRow(gettext("Used by job runs this month"), sum_of(line["usage"])))
        rows += [self._entry(entry) for part in ("refunds", "holds", "earlier") for entry in line[part]]
        late = summed(line["earlier_usage"], "day")
        text = gettext("Use of an earlier month, learnt later")
        rows += [BalanceRow(text, seconds, date.fromisoformat(day)) for day, seconds in late.items()]
        closing_on = self.last_on if self.so_far is None else min(self.last_on, timezone.localdate(self.so_far))
        rows.append(BalanceRow(self.closing_text, left(line["closing"]), closing_on, is_balance=True))
        return rows

    @property
    def is_going_on(self) -> bool:
        """Whether the month is not over yet, so that nothing can be said of its end."""
        return self.so_far is not None and timezone.localdate(self.so_far) <= self.last_on

    @property
    def closing_text(self) -> str:
        """What the closing balance is: while the month goes on, or may still change, what is left so far."""
        if self.so_far is None:
            return gettext("Left at the end of the month")
        over = gettext("Left at the end of the month so far, as of %(instant)s")
        text = gettext("Left so far, as of %(instant)s") if self.is_going_on else over
        return text % {"instant": written_instant(self.so_far)}

    def _entry(self, entry: dict[str, Any]) -> BalanceRow:
        kind, source = entry["kind"], entry["source"]
        text = str(SAID_MORE_PRECISELY.get((kind, source), KINDS[kind]))
        url = reverse("ledger_entry", args=[self.code, entry["entry"]])
        return BalanceRow(text, entry["seconds"], date.fromisoformat(entry["day"]), url)

    @property
    def used(self) -> int:
        return -sum_of(self.line["usage"])

    @property
    def used_by_person(self) -> list[Share]:
        """The most first."""
        by_person: defaultdict[str, int] = defaultdict(int)
        for said in self.line["usage"]:
            by_person[person_of(said)] -= said["seconds"]
        found = [Share(seconds, person) for person, seconds in by_person.items()]
        return sorted(found, key=lambda share: (-share.seconds, share.person))

    @property
    def used_by_day(self) -> list[Share]:
        days = summed(self.line["usage"], "day")
        return [Share(-seconds, day=date.fromisoformat(day)) for day, seconds in days.items()]

    @property
    def used_by_both(self) -> list[Share]:
        return [
            Share(-said["seconds"], person_of(said), date.fromisoformat(said["day"])) for said in self.line["usage"]
        ]

    @property
    def earlier(self) -> list[Share]:
        """What was learnt later of earlier days, by day and person; more use is positive."""
        return [
            Share(-said["seconds"], person_of(said), date.fromisoformat(said["day"]))
            for said in self.line["earlier_usage"]
        ]

    @property
    def standing(self) -> list[dict[str, Any]]:
        """Hours that are set aside at the end of the month."""
        return [
            {
                "day": date.fromisoformat(hold["day"]),
                "seconds": hold["seconds"],
                "lapses_on": date.fromisoformat(hold["lapses_on"]) if hold["lapses_on"] else None,
                "url": reverse("ledger_entry", args=[self.code, hold["entry"]]),
            }
            for hold in self.line["standing"]
        ]


@dataclass(frozen=True)
class MoneyRow:
    """What an award, or an allocation that none pays for, comes to this month."""

    line: dict[str, Any]

    @property
    def is_award(self) -> bool:
        return "rate_bp" in self.line

    @property
    def funding(self) -> str:
        return "" if self.is_award else str(Allocation.Funding(self.line["funding"]).label)

    @property
    def own_share_cents(self) -> int | None:
        """None where the centre bears it."""
        if not self.is_award and self.line["funding"] not in OWN:
            return None
        return int(self.line["this"]["own_share_cents"])


def person_of(said: dict[str, Any]) -> str:
    """The person, or the user name on the cluster while nobody has said whose it is."""
    return str(said["member"] or said["user"] or "–")


def summed(lines: list[dict[str, Any]], name: str) -> dict[str, int]:
    """GPU-seconds by what the lines say under a name, in its order."""
    found: defaultdict[str, int] = defaultdict(int)
    for line in lines:
        found[line[name]] += line["seconds"]
    return dict(sorted(found.items()))


def shown(team: TeamPage, month_asked: str) -> Shown:
    """The statement of a month written as yyyy-mm; raises Http404 where there is nothing to tell."""
    month = month_in(month_asked)
    if month > this_month(team.at):
        raise Http404
    known = Statement.objects.filter(project=team.project, month__lte=month).order_by("-month").first()
    if known is not None and known.month == month:
        known.project = team.project
        return Shown(json.loads(known.content), known)
    content = provisional(team.project, month, previous=known, at=team.at)
    if not content["allocations"] or (known is None and is_before_the_first(content)):
        raise Http404
    return Shown(content, None)


def is_before_the_first(content: dict[str, Any]) -> bool:
    """No allocation has anything on this statement."""
    month, last_on = date.fromisoformat(content["month"]), date.fromisoformat(content["last_on"])
    code = content["project"]["code"]
    return not any(Account(line, code, month, last_on).has_something for line in content["allocations"])


def month_in(text: str) -> date:
    """The first day of a month written as yyyy-mm; raises Http404 for anything else."""
    try:
        month = date.fromisoformat(f"{text}-01")
    except ValueError as error:
        raise Http404 from error
    if not FIRST <= month <= LAST or f"{month:%Y-%m}" != text:
        raise Http404
    return month


@require_safe
def statement(request: HttpRequest, code: str, month: str) -> HttpResponse:
    """One month on one sheet."""
    team = team_page(request, code, section="statements")
    found = shown(team, month)
    context = {
        "shown": found,
        "csv_url": reverse("statement_csv", args=[code, month]),
        "month_text": date_format(found.month, "YEAR_MONTH_FORMAT"),
    }
    return render(request, "projects/statement.html", team.context(**context))


@require_safe
def statement_csv(request: HttpRequest, code: str, month: str) -> HttpResponseBase:
    """The same figures as a file."""
    found = shown(team_page(request, code, section="statements"), month)
    report = as_report(found.content, number=found.issued.number if found.issued else "")
    chunks = csv_chunks(report, Parameters())
    response = StreamingHttpResponse(chain([next(chunks)], chunks), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = content_disposition_header(True, f"{report.name}.csv") or "attachment"
    response["Cache-Control"] = "private, no-store"
    return response
