"""What the parts of one call share: its clock, who stands behind it, and what each line came to."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from allocations.ledger import LedgerError
from allocations.onboard.lines import BadLine, Line, Problem
from centre.machines import MachineError
from centre.members import MemberError
from centre.models import Cluster, User
from centre.tenants import TenantError

OPERATOR = "onboard"
"""The source of opening balances that the operator's command brings in: the one grant with nobody behind it."""


class Outcome(StrEnum):
    """What a line came to."""

    NEW = "new"
    CHANGED = "changed"
    SAME = "same"
    WRONG = "wrong"


@dataclass(frozen=True)
class Change:
    """What stands, and what the line says instead; `before` is empty where nothing stood."""

    column: str
    before: str
    after: str


@dataclass(frozen=True)
class Verdict:
    """What a line came to, what it changes, and for a wrong one why it cannot be taken."""

    outcome: Outcome
    changes: tuple[Change, ...] = ()
    problem: str = ""


@dataclass
class Count:
    """How many lines of a file were new, changed something, stood already, or cannot be taken."""

    file: str
    new: int = 0
    changed: int = 0
    same: int = 0
    wrong: int = 0


class Consequence(Exception):
    """A line that cannot be taken only because another one cannot; a call that is all or nothing does not name it."""


@dataclass
class Call:
    """One call. `by` is None: it is the operator's command.

    Opening balances are granted in the name of `asked_by`, approved by `approved_by`, with the source `source`.
    """

    at: datetime
    by: User | None = None
    asked_by: User | None = None
    approved_by: User | None = None
    source: str = OPERATOR
    source_prefix: str = ""
    problems: list[Problem] = field(default_factory=list)
    verdicts: dict[tuple[str, int], Verdict] = field(default_factory=dict)
    broken: set[tuple[str, str]] = field(default_factory=set)
    leads: dict[tuple[str, str], Line] = field(default_factory=dict)
    mapped: set[Cluster] = field(default_factory=set)
    opened: list[tuple[int, int]] = field(default_factory=list)
    """(project's number, GPU-seconds) of each allocation that was opened."""
    warnings: list[str] = field(default_factory=list)
    lacks_a_file: bool = False

    @contextmanager
    def line(self, line: Line, *makes: tuple[str, str]) -> Iterator[None]:
        """Note what is wrong with the line and go on; `makes` are the things that are missing then: ("pool", code)."""
        try:
            yield
        except Consequence as error:
            self.verdicts[line.key] = Verdict(Outcome.WRONG, problem=str(error))
            self.broken.update(makes)
        except ValidationError as error:
            self.refuse(line, " ".join(_sentences(error)))
            self.broken.update(makes)
        except (BadLine, MachineError, TenantError, MemberError, LedgerError) as error:
            self.refuse(line, str(error))
            self.broken.update(makes)

    def tell(self, line: Line, outcome: Outcome, changes: Sequence[Change] = ()) -> None:
        """Note what the line came to."""
        self.verdicts[line.key] = Verdict(outcome, tuple(changes))

    def refuse(self, line: Line, reason: str) -> None:
        self.problems.append(Problem(line.file, line.number, reason))
        self.verdicts[line.key] = Verdict(Outcome.WRONG, problem=reason)

    def is_refused(self, line: Line) -> bool:
        verdict = self.verdicts.get(line.key)
        return verdict is not None and verdict.outcome == Outcome.WRONG

    def sound(self, lines: list[Line], *kinds: tuple[str, str]) -> list[Line]:
        """The lines that could be read. What the others would have made is missing: `kinds` of (thing, column)."""
        for line in lines:
            if line.fault:
                self.refuse(line, line.fault)
                self.broken.update((kind, line.cells.get(column, "")) for kind, column in kinds)
        return [line for line in lines if not line.fault]

    def missing(self, kind: str, code: str, message: str) -> Exception:
        """What to raise because a thing is not known; a consequence where a refused line should have made it."""
        if self.lacks_a_file or (kind, code) in self.broken:
            needs = _("%(why)s Its own line in this upload is wrong: mend that one, and this one is right.")
            return Consequence(needs % {"why": message})
        return BadLine(message)

    def count_of(self, file: str, lines: list[Line]) -> Count:
        """What the lines of a file came to."""
        count = Count(file)
        for line in lines:
            outcome = self.verdicts[line.key].outcome
            setattr(count, outcome, getattr(count, outcome) + 1)
        return count


def _sentences(error: ValidationError) -> list[str]:
    if not hasattr(error, "error_dict"):
        return list(error.messages)
    return [f"{name}: {message}" for name, messages in error.message_dict.items() for message in messages]
