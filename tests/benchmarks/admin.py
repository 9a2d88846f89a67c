"""What the pages of the administration cost where there are few rows, and where there are very many.

Each size is a database of its own (`many_projects`, and what staff look at besides). A list may cost so much at the
largest size and no more; a form costs the same at every size. Counted is the time that processors spent, in this
process and in the database session, without parallel workers; requests to forms take turns between the databases.

Which pages there are is read from the admin itself, so that a new list, filter, form or act takes part by itself.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Self
from urllib.parse import urlencode

from django.apps import apps
from django.contrib import admin
from django.contrib.admin import ModelAdmin
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.db import models
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from allocations.models import QuarantinedRecord, UsageImport
from allocations.staging import execute
from centre.models import Project, Tenant, User
from centre.models.tenants import TenantCategory
from centre.permissions import StaffRole
from tests import make
from tests.benchmarks.many_projects import ROUND, seed
from tests.benchmarks.many_runs import Amounts
from tests.benchmarks.pages import Measured, Page, Place, filled_by, measured, standing_on
from tests.subsidies import cases

LIST_LIMIT: Final = 60
"""Milliseconds of processor time of a list at the largest size."""
QUERY_LIMIT: Final = 8
"""Queries of a list, those that tell who is asking among them."""
LONG: Final = 100_000
"""Rows from which on these limits hold; shorter lists, which may join and search more freely, have those of SHORTER."""
SHORTER: Final = (120, 12)
GROWTH_LIMIT: Final = 1.2
"""Times the processor time of a form at the smallest size, at the largest."""
MEASURABLE: Final = 3
"""Milliseconds by which two medians of one page differ on a machine that has other work to do."""
ROUNDS: Final = 7
AS_IT_OPENS: Final = "as it opens"
SEARCHES: Final[Mapping[str, tuple[str, ...]]] = {
    "allocations.jobrun": ("project-00007", "user-7-1", "1234", "1234_7", "nobody"),
    "allocations.ledgerentry": ("project-00007", "project-00007-h20", "nobody"),
}
"""What is searched in the longest lists; in the others a project's code, and what is nowhere."""
USUAL_SEARCHES: Final = ("project-00007", "nobody")


@dataclass(frozen=True)
class Size:
    """So many runs and so many ledger entries in all, and what stands around them."""

    rows: int
    amounts: Amounts
    allocations: int
    """As many as people; of tenants, projects, applications and quarantined records there are so many, too."""
    events: int

    @classmethod
    def of(cls, rows: int, allocations: int) -> Self:
        amounts = Amounts(entries=rows, runs=rows, same_projects=1, same_entries=20, same_runs=20, imports_a_day=4)
        return cls(rows, amounts, allocations, events=rows // 5)


FEW: Final = Size.of(1_000, 40)
MANY: Final = Size.of(1_000_000, 10_000)


@dataclass(frozen=True)
class ListPage:
    """One way to open a list: as it is, its last page, searched, or filtered."""

    label: str
    way: str
    page: Page[User]


@dataclass(frozen=True)
class Results:
    """What was measured: each way of each list at the largest size, each form at every size."""

    lists: Sequence[tuple[ListPage, Measured]]
    forms: Sequence[Measured]
    rows: Mapping[str, int]
    """How many rows each list has at the largest size."""

    def limits(self, label: str) -> tuple[int, int]:
        """Milliseconds and queries that a list may cost."""
        return (LIST_LIMIT, QUERY_LIMIT) if self.rows[label] >= LONG else SHORTER

    def keeps_list_limits(self, label: str, result: Measured) -> bool:
        milliseconds, queries = self.limits(label)
        return cost(result) <= milliseconds and most_queries(result) <= queries

    @property
    def beyond(self) -> list[str]:
        """A sentence for each page that does not keep its limits."""
        told = [
            f"The list of {one.label} ({one.way}): {cost(result):.0f} ms, {most_queries(result)} queries."
            for one, result in self.lists
            if not self.keeps_list_limits(one.label, result)
        ]
        told += [
            f"The page “{result.page}”: growth {result.growth:.2f}, queries {sorted(set(result.queries.values()))}."
            for result in self.forms
            if not keeps_form_limits(result)
        ]
        return told


def cost(result: Measured) -> float:
    """Milliseconds at the largest size."""
    return result.milliseconds(max(result.spent))


def most_queries(result: Measured) -> int:
    return max(result.queries.values())


def keeps_form_limits(result: Measured) -> bool:
    """It grows little, and asks the database no more often; a few milliseconds more are within what is measurable.

    Where what stands beside a row happens to be less, a part of its page and the query for it may be missing.
    """
    few, many = min(result.spent), max(result.spent)
    grows = result.growth > GROWTH_LIMIT and result.milliseconds(many) - result.milliseconds(few) > MEASURABLE
    return not grows and result.queries[many] <= result.queries[few]


def measure(
    *,
    few: Size = FEW,
    many: Size = MANY,
    rounds: int = ROUNDS,
    of: Collection[str] | None = None,
    tell: Callable[[str], None] = lambda _line: None,
) -> Results:
    """Seed a database for either size; open each list in the larger one, and each form in both by turns.

    `of` names the models, where it is not all.
    """
    with ExitStack() as stack:
        places: dict[int, Place[User]] = {}
        for size in (few, many):
            began = timezone.now()
            places[size.rows] = stack.enter_context(filled_by(partial(fill, size), str(size.rows)))
            tell(f"{size.rows:,} rows were seeded in {(timezone.now() - began).total_seconds():,.0f} s.")
        large = {many.rows: places[many.rows]}
        with standing_on(large[many.rows].connection):
            lists = [*lists_of(large[many.rows].looked, of)]
            rows = {label: model._default_manager.count() for label, model in listed(lists)}
        with standing_on(places[few.rows].connection):
            forms = [*forms_of(places[few.rows].looked, of)]
        return Results(
            lists=[(one, measured(one.page, large, rounds=rounds)) for one in lists],
            forms=[measured_form(page, places, rounds=rounds) for page in forms],
            rows=rows,
        )


def measured_form(page: Page[User], places: Mapping[int, Place[User]], *, rounds: int) -> Measured:
    """What it costs at every size; one that seems to grow is measured again, three times as long, and that counts.

    Among a hundred forms one or the other is disturbed by what else the machine does; what truly grows grows again.
    """
    result = measured(page, places, rounds=rounds)
    return result if keeps_form_limits(result) else measured(page, places, rounds=3 * rounds)


def listed(lists: Sequence[ListPage]) -> Iterator[tuple[str, type[models.Model]]]:
    """The models of the lists, each once."""
    for label in dict.fromkeys(one.label for one in lists):
        yield label, apps.get_model(label)


# ------------------------------------------------------------------------------------------------------ the tables


def table_of_lists(results: Results) -> str:
    """A line for each list: as it opens, and the dearest of the other ways."""
    lines = [
        "| list | rows | as it opens: ms (queries) | dearest other way: ms (queries) | limit |",
        "|---|---:|---:|---|---|",
    ]
    for label, rows in results.rows.items():
        ways = {one.way: result for one, result in results.lists if one.label == label}
        opened = ways.pop(AS_IT_OPENS)
        milliseconds, queries = results.limits(label)
        dearest = max(ways, key=lambda way: cost(ways[way]), default="")
        other = f"{dearest}: {in_figures(ways[dearest])}" if dearest else "–"
        kept = all(results.keeps_list_limits(label, result) for result in (opened, *ways.values()))
        mark = "" if kept else " (not kept)"
        lines.append(f"| {label} | {rows:,} | {in_figures(opened)} | {other} | ≤ {milliseconds} ({queries}){mark} |")
    return "\n".join(lines)


def in_figures(result: Measured) -> str:
    return f"{cost(result):.0f} ({most_queries(result)})"


def table_of_forms(results: Results) -> str:
    """A line for each form, at either size."""
    few, many = sorted(results.forms[0].spent)
    lines = [
        f"| ms (queries) with so many rows | {few:,} | {many:,} | growth | limit |",
        "|---|---:|---:|---:|---:|",
    ]
    for result in results.forms:
        figures = " | ".join(f"{result.milliseconds(n):.1f} ({result.queries[n]})" for n in (few, many))
        mark = "" if keeps_form_limits(result) else " (not kept)"
        lines.append(f"| {result.page} | {figures} | **{result.growth:.2f}** | ≤ {GROWTH_LIMIT}{mark} |")
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------------- the rows


def fill(size: Size) -> User:
    """Fill the empty database. Gives who looks at it: somebody with every staff role."""
    seed(size.allocations, size.amounts, at=timezone.now())
    organisations(size.allocations)
    cases_of(size.allocations)
    execute(
        """
        INSERT INTO centre_event (at, actor_id, act, object_type, object_id, object_name, reason, changes)
        SELECT now() - n * interval '1 minute', person.id, 'import_usage', 'allocations.usageimport', n::text,
               'usage.txt', '', '{"entries": [null, 12]}'
        FROM generate_series(1, %s) AS n
        JOIN (SELECT id, row_number() OVER (ORDER BY id) AS place FROM centre_user LIMIT 7) AS person
        ON person.place = mod(n, 7) + 1
        """,
        [size.events],
    )
    last = UsageImport.objects.latest("pk")
    QuarantinedRecord.objects.bulk_create(
        [
            QuarantinedRecord(usage_import=last, line=n + 2, text="1|2|3", reason="It has too few fields.")
            for n in range(size.allocations)
        ],
        batch_size=ROUND,
    )
    user = make.person()
    for role in StaffRole:
        make.staff(role, user=user)
    execute("VACUUM ANALYZE")
    return user


def organisations(number: int) -> None:
    """Further tenants with a project each, so that there are so many of either."""
    missing = range(Tenant.objects.count(), number)
    tenants = Tenant.objects.bulk_create(
        [
            Tenant(
                code=f"lab-{n:05}",
                name_en=f"Laboratory {n}",
                name_zh_hant=f"第{n}研究所",
                name_zh_hans=f"第{n}研究所",
                category=TenantCategory.RESEARCH_INSTITUTE,
            )
            for n in missing
        ],
        batch_size=ROUND,
    )
    Project.objects.bulk_create(
        [
            Project(tenant=tenant, code=f"series-{n:05}", title=f"Series {n}")
            for n, tenant in enumerate(tenants[: number - Project.objects.count()])
        ],
        batch_size=ROUND,
    )


def cases_of(number: int) -> None:
    """One application with all that can follow it, and so many that are being screened."""
    award = cases.award(decision=cases.decision())
    execute(
        """
        INSERT INTO subsidies_application (number, scheme_id, tenant_id, new_project_code, title, summary, state,
               received_on, starts_on, ends_on, recorded_by_id, recorded_at, lead_id)
        SELECT 'N-' || n, scheme_id, tenant_id, 'new-' || n, title, summary, 'screening', received_on, starts_on,
               ends_on, recorded_by_id, recorded_at, recorded_by_id
        FROM subsidies_application, generate_series(1, %s) AS n WHERE id = %s
        """,
        [number, award.application_id],
    )


# ------------------------------------------------------------------------------------------------------ the pages


def registered(of: Collection[str] | None) -> Iterator[tuple[type[models.Model], ModelAdmin[Any]]]:
    """What the administration has pages of; `of` names the models, where it is not all."""
    for model, page in admin.site._registry.items():
        if of is None or model._meta.label_lower in of:
            yield model, page


def lists_of(user: User, of: Collection[str] | None = None) -> Iterator[ListPage]:
    """Each list that somebody with every role opens, in every way."""
    for model, page in registered(of):
        request = RequestFactory().get("/")
        request.user = user
        if not page.has_view_or_change_permission(request):
            continue
        shown = page.get_changelist_instance(request)
        ways = [(AS_IT_OPENS, "")]
        if shown.paginator.num_pages > 1:
            ways.append(("last page", urlencode({PAGE_VAR: shown.paginator.num_pages})))
        if page.search_fields:
            searched = SEARCHES.get(model._meta.label_lower, USUAL_SEARCHES)
            ways += [(f"search {term}", urlencode({"q": term})) for term in searched]
        ways += [*choices_of(shown)]
        address = address_of(model, "changelist")
        for way, query in ways:
            yield ListPage(
                model._meta.label_lower, way, Page(f"{address} {way}", whoever, always(f"{address}?{query}"))
            )


def choices_of(shown: ChangeList) -> Iterator[tuple[str, str]]:
    """What each filter beside a list offers, and the address of it."""
    for spec in shown.filter_specs:
        for choice in spec.choices(shown):
            if not choice["selected"]:
                yield f"{spec.title}: {choice['display']}", str(choice["query_string"]).removeprefix("?")


def forms_of(user: User, of: Collection[str] | None = None) -> Iterator[Page[User]]:
    """The page of a row of each kind, its history and acts, and the form of a new row; what opens of them."""
    client = Client(headers={"host": "localhost"})
    client.force_login(user)
    for model, page in registered(of):
        named = [(act, first_of(model, act)) for act in ("change", "history", *acts_of(page))]
        for act, address in [("new", always(address_of(model, "add"))), *(named if has_rows(model) else [])]:
            if client.get(address(user)).status_code == HTTPStatus.OK:
                yield Page(f"{model._meta.label_lower}: {act}", whoever, address)


def has_rows(model: type[models.Model]) -> bool:
    return bool(model._default_manager.exists())


def acts_of(page: ModelAdmin[Any]) -> Iterator[str]:
    """The names of the acts that a row of this kind may have, and of pages below it."""
    own = f"{page.opts.app_label}_{page.opts.model_name}_"
    for url in page.get_urls():
        if url.name and str(url.pattern).startswith("<path:object_id>/"):
            act = url.name.removeprefix(own)
            if act not in {"change", "history", "delete"} and str(url.pattern).count("<") == 1:
                yield act


def address_of(model: type[models.Model], act: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{act}", args=args)


def whoever(user: User) -> User:
    return user


def always(address: str) -> Callable[[User], str]:
    return lambda _user: address


def first_of(model: type[models.Model], act: str) -> Callable[[User], str]:
    """The address of an act of the first row of its kind, whatever its number is in a database."""
    return lambda _user: address_of(model, act, model._default_manager.order_by("pk").values_list("pk", flat=True)[0])
