"""What the parts of one call share: its clock, the problems found so far, and what each file came to."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from django.core.exceptions import ValidationError

from allocations.ledger import LedgerError
from allocations.onboard.lines import BadLine, Line, Problem
from centre.machines import MachineError
from centre.members import MemberError
from centre.models import Cluster, User
from centre.tenants import TenantError


class Outcome(StrEnum):
    """What a line came to."""

    NEW = "new"
    CHANGED = "changed"
    SAME = "same"


@dataclass
class Count:
    """How many lines of a file were new, changed something, or stood already."""

    file: str
    new: int = 0
    changed: int = 0
    same: int = 0

    def add(self, outcome: Outcome) -> None:
        setattr(self, outcome, getattr(self, outcome) + 1)


class Consequence(Exception):
    """A line that cannot be taken only because another one cannot; it is not named a second time."""


@dataclass
class Call:
    """One call of `onboard`. `by` is None: it is the operator's command."""

    at: datetime
    by: User | None = None
    problems: list[Problem] = field(default_factory=list)
    broken: set[tuple[str, str]] = field(default_factory=set)
    leads: dict[tuple[str, str], Line] = field(default_factory=dict)
    mapped: set[Cluster] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)
    lacks_a_file: bool = False

    @contextmanager
    def line(self, line: Line, *makes: tuple[str, str]) -> Iterator[None]:
        """Note what is wrong with the line and go on; `makes` are the things that are missing then: ("pool", code)."""
        try:
            yield
        except Consequence:
            self.broken.update(makes)
        except ValidationError as error:
            self.refuse(line, " ".join(_sentences(error)))
            self.broken.update(makes)
        except (BadLine, MachineError, TenantError, MemberError, LedgerError) as error:
            self.refuse(line, str(error))
            self.broken.update(makes)

    def refuse(self, line: Line, reason: str) -> None:
        self.problems.append(Problem(line.file, line.number, reason))

    def missing(self, kind: str, code: str, message: str) -> Exception:
        """What to raise because a thing is not known: silent where a refused line or file should have made it."""
        return Consequence() if self.lacks_a_file or (kind, code) in self.broken else BadLine(message)


def _sentences(error: ValidationError) -> list[str]:
    if not hasattr(error, "error_dict"):
        return list(error.messages)
    return [f"{name}: {message}" for name, messages in error.message_dict.items() for message in messages]
