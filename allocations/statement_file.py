"""A statement as a file: a line for each figure, exact. Made from the content alone, so an issued one never changes."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from allocations.ledger_words import KINDS
from allocations.statements import left
from centre.exports import Cell, Column, Kind, Report, Row

SECTIONS = {
    "opening": _("GPU-hours left at the beginning of the month"),
    "given": _("Given, moved or returned"),
    "usage": _("Used by job runs of the month, by day and person"),
    "refunds": _("Given back for job runs"),
    "holds": _("Set aside, or no longer so"),
    "earlier": _("What was recorded later for days of earlier months"),
    "closing": _("GPU-hours left at the end of the month"),
    "left_so_far": _("GPU-hours left so far, as of the day of the line; in a provisional statement"),
    "held": _("Set aside at the end of the month; part of no sum"),
    "money": _("List value, subsidy and own share of the month"),
    "money_so_far": _("List value, subsidy and own share since the project began"),
}
COLUMNS = (
    Column("statement", _("Statement"), _("Its number; empty while it is provisional."), Kind.CODE),
    Column("project", _("Project"), _("The project’s code."), Kind.CODE),
    Column("month", _("Month"), _("Its first day."), Kind.DAY),
    Column("section", _("Section"), _("What the line tells of."), Kind.CHOICE, choices=SECTIONS),
    Column("allocation", _("Allocation"), _("Its reference; of money, the award or allocation that pays."), Kind.CODE),
    Column("day", _("Day"), _("The day for which it counts."), Kind.DAY),
    Column("what", _("What happened"), _("The kind of ledger entry."), Kind.CHOICE, choices=KINDS),
    Column("entry", _("Entry"), _("The number of the ledger entry; empty where many stand together."), Kind.COUNT),
    Column("user", _("User name"), _("The user name on the cluster."), Kind.CODE),
    Column("member", _("Person"), _("Whose user name it is, where that is known."), Kind.TEXT),
    Column("gpu_seconds", _("GPU-seconds"), _("Exact; signed by the effect on what is left."), Kind.SECONDS),
    Column("gpu_hours", _("GPU-hours"), _("The same in GPU-hours, rounded to two decimals."), Kind.HOURS),
    Column("list_value_hkd", _("List value"), _("GPU-hours × list price of their day, in HK$."), Kind.MONEY),
    Column("subsidy_hkd", _("Subsidy"), _("What awards pay of it, in HK$."), Kind.MONEY),
    Column("own_share_hkd", _("Own share"), _("What the project pays of it, in HK$."), Kind.MONEY),
)


def as_report(content: dict[str, Any], *, number: str) -> Report:
    """The file of a statement; `number` is empty for a provisional one."""
    month = date.fromisoformat(content["month"])
    head: Row = (number or None, content["project"]["code"], month)
    name = f"statement_{content['project']['code']}_{month:%Y-%m}{'' if number else '_provisional'}"
    rows = [head + row for row in rows_of(content, is_issued=bool(number))]
    return Report(
        name=name, title=_("Statement"), description="", days="", columns=COLUMNS, rows=lambda _parameters: iter(rows)
    )


def rows_of(content: dict[str, Any], *, is_issued: bool) -> Iterator[Row]:
    """The lines of the file without their first three cells."""
    closing, closing_on = ("closing", content["last_on"]) if is_issued else ("left_so_far", day_so_far(content))
    for allocation in content["allocations"]:
        reference = allocation["reference"]
        yield moved("opening", reference, seconds=left(allocation["opening"]), day=content["month"])
        for section, parts in (
            ("given", ("given",)),
            ("usage", ("usage",)),
            ("refunds", ("refunds",)),
            ("holds", ("holds",)),
            ("earlier", ("earlier", "earlier_usage")),
        ):
            for part in parts:
                for line in allocation[part]:
                    yield moved(section, reference, **{"kind": usage_kind(line), **line})
        yield moved(closing, reference, seconds=left(allocation["closing"]), day=closing_on)
        for line in allocation["standing"]:
            yield moved("held", reference, seconds=-line["seconds"], day=line["day"], entry=line["entry"], kind="hold")
    for section, when in (("money", "this"), ("money_so_far", "so_far")):
        for line in content["money"]:
            figures = line[when]
            seconds = figures["gpu_seconds"]
            money: tuple[Cell, ...] = tuple(
                figures[name] for name in ("list_value_cents", "subsidy_cents", "own_share_cents")
            )
            yield (section, line["name"], None, None, None, None, None, seconds, seconds, *money)


def day_so_far(content: dict[str, Any]) -> str:
    """The last day of which a provisional statement tells: today, or the end of a month that is over."""
    return min(timezone.localdate(datetime.fromisoformat(content["as_of"])).isoformat(), str(content["last_on"]))


def usage_kind(line: dict[str, Any]) -> str:
    return "refund" if line["seconds"] > 0 else "charge"


def moved(section: str, reference: str, *, seconds: int, day: str, **said: Any) -> Row:
    """A line about GPU time."""
    return (
        *(section, reference, date.fromisoformat(day)),
        *(said.get("kind"), said.get("entry"), said.get("user"), said.get("member")),
        *(seconds, seconds, None, None, None),
    )
