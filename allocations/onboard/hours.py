"""allocations.csv: opening balances, each with its own reference, opened through the ledger.

They carry the source `onboard`: the one exemption from the rule that two people stand behind every grant. Without a
`funding` column an allocation is internal: subsidised would claim an award behind it and purchased an invoice, and a
balance that is brought in claims neither.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

from django.db.models import Sum
from django.utils.translation import gettext as _

from allocations import ledger, staging
from allocations.models import Allocation, LedgerEntry
from allocations.onboard.call import Call, Change, Outcome
from allocations.onboard.lines import BadLine, Line
from allocations.onboard.teams import once
from centre.amounts import decimal_text
from centre.models import GpuPool, Project

NEEDED: Final = ("project", "pool", "start_on", "end_on", "gpu_hours", "reference")
OPTIONAL: Final = ("account", "funding")

F = Allocation.Funding
FUNDINGS: Final = {
    "subsidised": F.SUBSIDISED,
    "subsidized": F.SUBSIDISED,
    "purchased": F.PURCHASED,
    "paid": F.PURCHASED,
    "internal": F.INTERNAL,
    "proof of concept": F.PROOF_OF_CONCEPT,
    "poc": F.PROOF_OF_CONCEPT,
}


@dataclass(frozen=True)
class Wanted:
    """What a line says of its allocation."""

    project: Project
    pool: GpuPool
    account: str
    funding: Allocation.Funding
    start_on: date
    end_on: date
    hours: int
    """Ten-thousandths of a GPU-hour."""
    seconds: int
    """0 for an allocation that stands: what it was granted need not be a whole number of these."""


def take_allocations(lines: list[Line], call: Call) -> None:
    """Open every allocation whose reference is not known, and check the others, which are never rewritten."""
    projects = {row.code: row for row in Project.objects.all()}
    pools = {row.code: row for row in GpuPool.objects.select_related("cluster")}
    standing = {row.reference: row for row in Allocation.objects.select_related("project", "pool")}
    grants = LedgerEntry.objects.filter(kind=LedgerEntry.Kind.GRANT).values_list("allocation__reference")
    brought_in = dict(grants.annotate(Sum("seconds")))
    for cluster in sorted({pools[code].cluster_id for line in lines if (code := line.cells.get("pool", "")) in pools}):
        staging.lock_cluster(cluster)  # in one order, whatever that of the lines
    for line in once(call.sound(lines), "allocation", "reference", call):
        with call.line(line):
            reference = line.text("reference", most=80)
            allocation = standing.get(reference)
            wanted = _read(line, projects, pools, call, is_new=allocation is None)
            if allocation is not None:
                _agree(wanted, allocation, brought_in.get(reference, 0))
                call.tell(line, Outcome.SAME)
                continue
            ledger.open_allocation(
                project=wanted.project,
                pool=wanted.pool,
                reference=reference,
                account=wanted.account,
                funding=wanted.funding,
                start_on=wanted.start_on,
                end_on=wanted.end_on,
                seconds=wanted.seconds,
                by=call.asked_by,
                approved_by=call.approved_by,
                at=call.at,
                reason=_("Opening balance"),
                source_kind=call.source,
                source_reference=f"{call.source_prefix}{line.file} line {line.number}"[:120],
            )
            call.opened.append((wanted.project.pk, wanted.seconds))
            call.tell(line, Outcome.NEW, _given(wanted))


def _read(line: Line, projects: dict[str, Project], pools: dict[str, GpuPool], call: Call, *, is_new: bool) -> Wanted:
    project_code, pool_code = line.text("project", most=40), line.text("pool", most=40)
    account = line.text("account", most=128, needed=False) or project_code
    wanted_days = line.day("start_on"), line.day("end_on")
    hours = line.hours("gpu_hours")
    seconds = line.gpu_seconds("gpu_hours") if is_new else 0
    funding = _funding(line.text("funding", most=40, needed=False))
    if wanted_days[1] < wanted_days[0]:
        raise BadLine(_("end_on is before start_on."))
    if is_new and account != project_code and account in projects:
        raise BadLine(
            _("The account “%(account)s” is the code of another project, whose job runs would draw on this one.")
            % {"account": account}
        )
    if project_code not in projects:
        raise call.missing("project", project_code, _("There is no project “%(code)s”.") % {"code": project_code})
    if pool_code not in pools:
        raise call.missing("pool", pool_code, _("There is no GPU pool “%(code)s”.") % {"code": pool_code})
    return Wanted(projects[project_code], pools[pool_code], account, funding, *wanted_days, hours, seconds)


def _given(wanted: Wanted) -> list[Change]:
    """What a new allocation gives, for the officer who approves it; also what the line left to the usual."""
    said = {
        "gpu_hours": decimal_text(wanted.hours, 10_000, 4).rstrip("0").rstrip("."),
        "start_on": wanted.start_on.isoformat(),
        "end_on": wanted.end_on.isoformat(),
        "account": wanted.account,
        "funding": wanted.funding.value,
    }
    return [Change(column, "", value) for column, value in said.items()]


def _funding(text: str) -> Allocation.Funding:
    plain = " ".join(text.lower().replace("-", " ").replace("_", " ").split())
    if not plain:
        return Allocation.Funding.INTERNAL
    if plain not in FUNDINGS:
        raise BadLine(
            _("funding “%(text)s” is unknown; it is one of: %(known)s.")
            % {"text": text, "known": ", ".join(each.value.replace("_", " ") for each in Allocation.Funding)}
        )
    return FUNDINGS[plain]


def _agree(wanted: Wanted, allocation: Allocation, brought_in: int) -> None:
    """Raise BadLine when the allocation of this reference is not the line's: what differs, and what to do."""
    pairs = {
        "project": (wanted.project.code, allocation.project.code),
        "pool": (wanted.pool.code, allocation.pool.code),
        "account": (wanted.account, allocation.account),
        "funding": (wanted.funding.value, allocation.funding),
        "start_on": (wanted.start_on.isoformat(), allocation.start_on.isoformat()),
        "end_on": (wanted.end_on.isoformat(), allocation.end_on.isoformat()),
        "gpu_hours": (decimal_text(wanted.hours, 10_000, 4), decimal_text(brought_in, 3600, 4)),
    }
    differs = [f"{column} {stands}" for column, (said, stands) in pairs.items() if said != stands]
    if differs:
        raise BadLine(
            _(
                "The allocation %(reference)s stands with %(differs)s. Give another reference to open another one; "
                "change this one in the portal."
            )
            % {"reference": allocation.reference, "differs": ", ".join(differs)}
        )
