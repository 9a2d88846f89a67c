"""Out again by CSV: what stands in the books, and the lines that could not be taken, in the columns of the upload.

Handed over unchanged, what is downloaded here comes to "same" on every line.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from django.db.models import OuterRef, Q, Subquery, Sum

from allocations.models import Allocation, LedgerEntry, OnboardingFile, OnboardingLine
from allocations.onboard.kinds import ALLOCATIONS, MEMBERS, PROJECTS, TENANTS
from allocations.onboard.preview import sheet_of
from allocations.onboard.recognising import PROBLEM
from centre.amounts import decimal_text
from centre.exports import ROWS_AT_A_TIME, Column, Parameters, Report, Row, csv_chunks
from centre.models import ClusterUser, Membership, Project, Tenant, User
from centre.permissions import ProjectRole

Rows = Callable[[User], Iterable[Row]]


def tenants(user: User) -> Iterator[Row]:
    rows = Tenant.objects.visible_to(user).order_by("code").values_list(*TENANTS.columns)
    yield from rows.iterator(chunk_size=ROWS_AT_A_TIME)


def projects(user: User) -> Iterator[Row]:
    leads = Membership.objects.current().filter(project=OuterRef("pk"), role=ProjectRole.LEAD)
    first = Subquery(leads.order_by("since_at", "pk").values("user__email")[:1])
    rows = Project.objects.visible_to(user).annotate(lead=first).order_by("code")
    yield from rows.values_list("code", "tenant__code", "title", "lead").iterator(chunk_size=ROWS_AT_A_TIME)


def members(user: User) -> Iterator[Row]:
    names: dict[int, list[str]] = defaultdict(list)
    for owner, cluster, name in (
        ClusterUser.objects.order_by("cluster__code", "name").values_list("user", "cluster__code", "name").iterator()
    ):
        names[owner].append(f"{cluster}:{name}")
    rows = Membership.objects.current().filter(project__in=Project.objects.visible_to(user))
    columns = ("project__code", "user__email", "user__name", "role", "user")
    ordered = rows.order_by("project__code", "user__email", "pk").values_list(*columns)
    for project, email, name, role, person in ordered.iterator(chunk_size=ROWS_AT_A_TIME):
        yield project, email, name, role, " ".join(names[person])


def allocations(user: User) -> Iterator[Row]:
    granted = Sum("entries__seconds", filter=Q(entries__kind=LedgerEntry.Kind.GRANT))
    rows = Allocation.objects.visible_to(user).annotate(brought_in=granted).order_by("reference")
    columns = ("project__code", "pool__code", "start_on", "end_on", "brought_in", "reference", "account", "funding")
    for project, pool, first, last, seconds, reference, *rest in rows.values_list(*columns).iterator(
        chunk_size=ROWS_AT_A_TIME
    ):
        hours = decimal_text(seconds or 0, 3600, 4).rstrip("0").rstrip(".")
        yield project, pool, first.isoformat(), last.isoformat(), hours, reference, *rest


OUT: Final[dict[str, tuple[tuple[str, ...], Rows, str]]] = {
    "tenants": (TENANTS.columns, tenants, "centre.view_tenant"),
    "projects": (PROJECTS.columns, projects, "centre.view_project"),
    "members": (MEMBERS.columns, members, "centre.view_membership"),
    "allocations": (ALLOCATIONS.columns, allocations, "allocations.view_allocation"),
}
"""What can be downloaded: its columns, its rows for a person, and who may look at it."""


def chunks_of(kind: str, user: User) -> Iterator[bytes]:
    """What the person may see of one kind, as CSV, in pieces."""
    columns, rows, _permission = OUT[kind]
    return _chunks(kind, columns, lambda: rows(user))


def wrong_lines(file: OnboardingFile) -> Iterator[bytes]:
    """The lines of a file that could not be taken, as they were, and beside each what is wrong with it."""
    problems = dict(
        OnboardingLine.objects.filter(file=file, verdict=OnboardingLine.Verdict.WRONG).values_list("number", "problem")
    )
    sheet = sheet_of(file)
    columns = tuple(column for column in sheet.columns if column and column != PROBLEM)

    def rows() -> Iterator[Row]:
        for line in sheet.lines:
            if line.number in problems:
                cells = [line.cells.get(column, "") for column in columns]
                cells[-1] = ", ".join(cell for cell in (cells[-1], *line.beyond) if cell)  # nothing is lost
                yield *cells, problems[line.number]

    return _chunks(file.kind, (*columns, PROBLEM), rows)


def _chunks(name: str, columns: tuple[str, ...], rows: Callable[[], Iterable[Row]]) -> Iterator[bytes]:
    report = Report(
        name=name,
        title=name,
        description="",
        days="",
        columns=tuple(Column(column, column, "") for column in columns),
        rows=lambda _parameters: rows(),
    )
    return csv_chunks(report, Parameters())
