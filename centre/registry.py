"""What upper apps show on the screens of this one.

Imports go one way, so a screen of `centre` cannot ask `allocations` or `subsidies`. It asks these registries instead,
and those apps fill them in `AppConfig.ready()`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime

from django.db import models
from django.utils.translation import gettext_lazy as _

from centre.exports import Report, Text
from centre.facility import PoolService
from centre.models import Cluster, Project, Tenant, User


@dataclass(frozen=True)
class Link:
    """A text that leads somewhere; without an address it is only the text. `note`: what is found there, in a line."""

    text: Text
    url: str = ""
    note: Text = ""


@dataclass(frozen=True)
class Panel:
    """A read-only table on a record's admin page: what another app knows of the record.

    `numbers` are the columns, counted from 0, that hold numbers: they are set to the right. A panel shows so many rows
    at most; `all_url` is the list with all of them.
    """

    title: Text
    headings: tuple[Text, ...]
    rows: tuple[tuple[Link, ...], ...]
    numbers: tuple[int, ...] = ()
    all_url: str = ""


@dataclass(frozen=True)
class Consequence:
    """What a tenant or project still has going when it is to be suspended or closed.

    `count` is all there is, `total` what it amounts to in words, `lines` the first of it; `all_url` shows all. Where it
    `stops_closing`, the verb refuses to close until it is gone.
    """

    title: Text
    count: int
    lines: tuple[Link, ...] = ()
    total: Text = ""
    note: Text = ""
    all_url: str = ""
    stops_closing: bool = False

    @property
    def more(self) -> int:
        """How many are not shown here."""
        return max(self.count - len(self.lines), 0)


@dataclass(frozen=True)
class TenantRecords:
    """Rows of an upper app that name a tenant in their column `tenant`; they go along when two records are merged."""

    title: Text
    model: type[models.Model]


@dataclass(frozen=True)
class ListColumn:
    """A column that an upper app adds to a list of the admin: `value` is worked out by the database, `shown` as text.

    Who lacks the `permission` does not get the column.
    """

    name: str
    title: Text
    value: Callable[[], models.expressions.Combinable]
    shown: Callable[[int], str]
    permission: str


@dataclass(frozen=True)
class Tab:
    """A page of a project in the row of tabs above its pages. `place` orders them, `name` tells which one is open."""

    place: int
    name: str
    text: Text
    url: str


@dataclass(frozen=True)
class OverCommitment:
    """A month in which more is promised of a pool than it can give: GPU-seconds beyond it, now and after a change.

    `first_on` is the month's first day. One of the two may be 0.
    """

    first_on: date
    now: int
    afterwards: int


@dataclass(frozen=True)
class UnclaimedName:
    """A user name in a project's runs that is nobody's yet; `cluster_id` and `cluster` (its code) say where it ran."""

    cluster_id: int
    cluster: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} ({self.cluster})"


@dataclass(frozen=True)
class NamesInRuns:
    """What an app that keeps job runs knows of the user names in them."""

    unclaimed: Callable[[Project], list[UnclaimedName]]  # one query
    runs_elsewhere: Callable[[Project, Cluster, str], bool]  # did the name also run for another project?


class DeskPart(models.TextChoices):
    """The parts of the desk, in the order in which they stand there; one without lines is left out."""

    WAITING = "waiting", _("Waiting for you")
    WATCH = "watch", _("To keep an eye on")
    ASKED = "asked", _("Asked for by you, waiting for somebody else")
    STANDING = "standing", _("How things stand")


@dataclass(frozen=True)
class DeskLine:
    """One matter on the desk: what it is, whose, since when, and the address of the page where it is dealt with."""

    title: Text
    note: Text
    url: str
    since: datetime | None = None


@dataclass(frozen=True)
class DeskGroup:
    """Lines of one kind, the most pressing first. `count`: how many there are in all; `url`: the list of them all."""

    part: DeskPart
    title: Text
    lines: tuple[DeskLine, ...]
    count: int
    url: str

    @property
    def more(self) -> int:
        """How many are not shown here."""
        return max(self.count - len(self.lines), 0)


@dataclass(frozen=True)
class DeskSection:
    """A part of the desk as somebody sees it; never without groups."""

    part: DeskPart
    groups: tuple[DeskGroup, ...]

    @property
    def title(self) -> str:
        return str(self.part.label)

    @property
    def count(self) -> int:
        return sum(group.count for group in self.groups)


AdminPanel = Callable[[models.Model, User], Panel | None]
ProjectLinks = Callable[[Project, User], list[Link]]
ProjectTabs = Callable[[Project, User], Iterable[Tab]]  # each asks at most one query
DeskParts = frozenset[DeskPart]
DeskLines = Callable[[User, datetime, DeskParts], Iterable[DeskGroup]]
"""Groups for a person at an instant, of the parts asked for; each asks a constant number of queries."""
OverCommitments = Callable[[PoolService, PoolService, date], Iterable[OverCommitment]]
"""The months from a day's on in which a pool, as it is and as it would be, is promised too much of."""
BeforeClosing = Callable[[Tenant | Project, User, datetime], Iterable[Consequence]]  # a constant number of queries

reports: dict[str, Report] = {}
admin_panels: list[AdminPanel] = []
project_links: list[ProjectLinks] = []
project_tabs: list[ProjectTabs] = []
desk_lines: list[DeskLines] = []
before_closing: list[BeforeClosing] = []
over_commitments: list[OverCommitments] = []
tenant_records: list[TenantRecords] = []
tenant_columns: list[ListColumn] = []
names_in_runs: list[NamesInRuns] = []
WHOLE_DESK: DeskParts = frozenset(DeskPart)
DESK_SHOWS = 5  # lines of a group; the rest is counted, and the group leads to the list


def add_reports(*added: Report) -> None:
    """Put reports into the catalogue, in this order; two of one name are a mistake that stops the start."""
    for report in added:
        if reports.setdefault(report.name, report) is not report:
            raise ValueError(f"Two reports are called {report.name}.")


def panels_of(record: models.Model, user: User) -> list[Panel]:
    """What the apps have to show this person about a record on its admin page."""
    panels = (panel(record, user) for panel in admin_panels)
    return [panel for panel in panels if panel is not None]


def links_of(project: Project, user: User) -> list[Link]:
    """Where else the apps can lead this person from a project's page."""
    return [link for links in project_links for link in links(project, user)]


def tabs_of(project: Project, user: User) -> list[Tab]:
    """The pages of a project that this person may open, in their order."""
    return sorted((tab for tabs in project_tabs for tab in tabs(project, user)), key=lambda tab: tab.place)


def consequences_of(record: Tenant | Project, user: User, at: datetime) -> list[Consequence]:
    """What the apps know to be going on for a tenant or project; what there is none of is left out."""
    told = (consequence for part in before_closing for consequence in part(record, user, at))
    return [consequence for consequence in told if consequence.count]


def over_commitments_of(now: PoolService, then: PoolService, first_on: date) -> list[OverCommitment]:
    """What a change of a pool does to the months in which too much of it is promised; months alike are left out."""
    found = (month for over in over_commitments for month in over(now, then, first_on))
    return sorted((month for month in found if month.now != month.afterwards), key=lambda month: month.first_on)


def unclaimed_names(project: Project) -> list[UnclaimedName]:
    """User names on clusters that have run for this project and are nobody's yet."""
    return [name for names in names_in_runs for name in names.unclaimed(project)]


def has_run_elsewhere(project: Project, cluster: Cluster, name: str) -> bool:
    """Whether a user name on a cluster has also run for another project, or for none that is known."""
    return any(names.runs_elsewhere(project, cluster, name) for names in names_in_runs)


def desk_of(user: User, at: datetime, *, parts: DeskParts = WHOLE_DESK) -> list[DeskSection]:
    """What is on this person's desk at an instant, the most urgent part first; a part without lines is left out."""
    groups = [group for lines in desk_lines for group in lines(user, at, parts) if group.lines]
    sections = (
        DeskSection(part, tuple(group for group in groups if group.part == part)) for part in DeskPart if part in parts
    )
    return [section for section in sections if section.groups]


def waits_for(user: User, at: datetime) -> list[DeskSection]:
    """What waits for this person; empty when nothing does."""
    return desk_of(user, at, parts=frozenset({DeskPart.WAITING}))
