"""The kinds of spreadsheets: their columns, in which order they are taken, and what takes them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from allocations.onboard import hours, machines, people, teams
from allocations.onboard.call import Call
from allocations.onboard.lines import Line


@dataclass(frozen=True)
class Kind:
    """One kind of spreadsheet."""

    name: str
    needed: tuple[str, ...]
    optional: tuple[str, ...]
    take: Callable[[list[Line], Call], None]

    @property
    def columns(self) -> tuple[str, ...]:
        return self.needed + self.optional


POOLS: Final = Kind("pools", machines.NEEDED, (), machines.take_pools)
TENANTS: Final = Kind("tenants", teams.TENANTS_NEEDED, (), teams.take_tenants)
PROJECTS: Final = Kind("projects", teams.PROJECTS_NEEDED, (), teams.take_projects)
MEMBERS: Final = Kind("members", people.NEEDED, people.OPTIONAL, people.take_members)
ALLOCATIONS: Final = Kind("allocations", hours.NEEDED, hours.OPTIONAL, hours.take_allocations)

KINDS: Final = (POOLS, TENANTS, PROJECTS, MEMBERS, ALLOCATIONS)
UPLOADED: Final = {kind.name: kind for kind in (TENANTS, PROJECTS, MEMBERS, ALLOCATIONS)}
"""What officers hand over in the administration; machines are the operator's and the administrator's."""
