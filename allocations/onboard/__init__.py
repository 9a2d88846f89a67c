"""Bringing a centre in from spreadsheets: pools, tenants, projects, members, allocations; all of it or nothing.

    result = onboard(pools=Path("pools.csv"), tenants=Path("tenants.csv"), at=now)

Every bad line of every file is named; then nothing is written. The same files again change nothing.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from allocations.onboard.call import Call, Count
from allocations.onboard.kinds import KINDS, Kind
from allocations.onboard.lines import BadFile, Problem, Sheet, contents_of, parse
from allocations.waiting import charge_waiting_runs
from centre.machines import MachineError
from centre.members import MemberError
from centre.models import User
from centre.tenants import TenantError

__all__ = ["Count", "NothingWritten", "Problem", "Result", "onboard"]


@dataclass(frozen=True)
class Result:
    """What each file came to, and what was passed over."""

    counts: list[Count]
    warnings: list[str]

    @property
    def changed_nothing(self) -> bool:
        return not any(count.new or count.changed for count in self.counts)


class NothingWritten(Exception):
    """Some lines cannot be taken; `problems` names each, in the order of the files and lines."""

    def __init__(self, problems: list[Problem], warnings: list[str]) -> None:
        super().__init__(
            ngettext(
                "Nothing was written: %(number)s line cannot be taken.",
                "Nothing was written: %(number)s lines cannot be taken.",
                len(problems),
            )
            % {"number": len(problems)}
        )
        self.problems = problems
        self.warnings = warnings


def onboard(
    *,
    pools: Path | None = None,
    tenants: Path | None = None,
    projects: Path | None = None,
    members: Path | None = None,
    allocations: Path | None = None,
    dry_run: bool = False,
    by: User | None = None,
    at: datetime,
) -> Result:
    """Take the files in this order, in one transaction. Raises NothingWritten.

    With `dry_run` everything is done, and then rolled back.
    """
    paths = {"pools": pools, "tenants": tenants, "projects": projects, "members": members, "allocations": allocations}
    call = Call(by=by, asked_by=by, at=at)
    counts: list[Count] = []
    warnings = call.warnings
    order: list[str] = []
    try:
        with transaction.atomic():
            for kind in KINDS:
                path = paths[kind.name]
                if path is None:
                    continue
                order.append(path.name)
                sheet = _read(path, kind, call)
                if sheet.unknown:
                    warnings.append(
                        _("%(file)s: these columns are not used: %(columns)s.")
                        % {"file": path.name, "columns": ", ".join(sheet.unknown)}
                    )
                kind.take(sheet.lines, call)
                counts.append(call.count_of(path.name, sheet.lines))
            if call.problems:
                problems = sorted(call.problems, key=lambda each: (order.index(each.file), each.line))
                raise NothingWritten(problems, warnings)
            charge_waiting_runs(clusters=call.mapped, at=at)
            if dry_run:
                transaction.set_rollback(True)
    except (IntegrityError, MachineError, TenantError, MemberError) as error:
        reason = _("The database refused it: %(error)s Did someone else write at the same time? Then run it again.")
        raise NothingWritten([Problem(order[-1], 0, reason % {"error": error})], warnings) from error
    return Result(counts, warnings)


def _read(path: Path, kind: Kind, call: Call) -> Sheet:
    try:
        sheet = parse(path.name, contents_of(path), kind=kind.name, needed=kind.needed, optional=kind.optional)
        for line in sheet.lines:
            if line.fault:
                raise BadFile(line.file, line.number, line.fault)
    except BadFile as error:
        call.problems.append(error.problem)
        call.lacks_a_file = True
        return Sheet([], [], [])
    return sheet
