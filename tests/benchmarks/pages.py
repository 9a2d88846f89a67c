"""What each page that teams live in costs where there are few allocations, and where there are many.

The same usage in total is seeded into a database for each size (`many_projects`); what the pages show is the same in
all of them. Requests take turns between the databases, so that whatever else the machine does falls on all. Counted is
the time that processors spent, in this process and in the database session, without parallel workers.
"""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from time import process_time_ns
from typing import Final, Generic, TypeVar
from urllib.parse import urlencode

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from allocations.staging import execute, number
from centre.models import User
from tests.benchmarks.many_projects import Looked, seed
from tests.benchmarks.many_runs import Amounts
from tests.databases import close, maintain

SIZES: Final = (200, 2_000, 10_000)
ROUNDS: Final = 31
WARM_UP: Final = 3
GROWTH_LIMIT: Final = 1.2
"""Times the processor time with the fewest allocations, with the most."""
QUERY_LIMIT: Final = 12


L = TypeVar("L")
"""What is known of a database that pages are opened in."""


@dataclass(frozen=True)
class Page(Generic[L]):
    """A page, who opens it, and its address."""

    name: str
    who: Callable[[L], User]
    address: Callable[[L], str]


def of_project(name: str, view: str, *args: str, **asked: str) -> Page[Looked]:
    """A page of the project, as its lead sees it; `args` name what else the address holds."""

    def address(looked: Looked) -> str:
        path = reverse(view, args=[looked.project.code, *(getattr(looked, each) for each in args)])
        return f"{path}?{urlencode(asked)}" if asked else path

    return Page(name, lambda looked: looked.lead, address)


PAGES: Final[Sequence[Page[Looked]]] = (
    Page("home", lambda looked: looked.lead, lambda _looked: reverse("projects")),
    of_project("project", "project"),
    of_project("usage", "usage"),
    of_project("usage, as a file", "usage_csv"),
    of_project("runs", "runs"),
    of_project("run", "run", "run"),
    of_project("ledger", "ledger"),
    of_project("explained charge", "ledger_entry", "charge"),
    of_project("statements", "statements"),
    of_project("statement, issued", "statement", "issued"),
    of_project("statement, provisional", "statement", "provisional"),
    of_project("members", "members"),
    of_project("requests", "requests"),
    of_project("request", "request", "request"),
    of_project("asking", "ask"),
    Page("tenant", lambda looked: looked.representative, lambda looked: reverse("tenant", args=[looked.tenant.code])),
    Page("notices", lambda looked: looked.lead, lambda _looked: reverse("notices")),
    Page("list of projects, as staff", lambda looked: looked.officer, lambda _looked: reverse("projects")),
)


@dataclass(frozen=True)
class Spent:
    """Milliseconds of processor time for one request, here and in the database session."""

    client: float
    server: float

    @property
    def both(self) -> float:
        return self.client + self.server


@dataclass(frozen=True)
class Measured:
    """What one page cost: by the number of allocations the requests, and how many queries one made."""

    page: str
    spent: Mapping[int, Sequence[Spent]]
    queries: Mapping[int, int]

    def milliseconds(self, size: int) -> float:
        return median(spent.both for spent in self.spent[size])

    @property
    def growth(self) -> float:
        """The median over the rounds: the cost with the most allocations, in times that with the fewest."""
        few, many = self.spent[min(self.spent)], self.spent[max(self.spent)]
        return median(b.both / a.both for a, b in zip(few, many, strict=True))

    @property
    def keeps_the_limits(self) -> bool:
        return self.growth <= GROWTH_LIMIT and max(self.queries.values()) <= QUERY_LIMIT


@dataclass(frozen=True)
class Place(Generic[L]):
    """A database of one size: the connection to it, its session, and what is looked at."""

    connection: BaseDatabaseWrapper
    session: int
    looked: L


def measure(
    *,
    sizes: Sequence[int] = SIZES,
    amounts: Amounts | None = None,
    rounds: int = ROUNDS,
    pages: Sequence[Page[Looked]] = PAGES,
    tell: Callable[[str], None] = lambda _line: None,
) -> list[Measured]:
    """Seed a database for each number of allocations, and open each page in each of them, in turns."""
    at = timezone.now()
    with ExitStack() as stack:
        places = {}
        for size in sizes:
            began = timezone.now()
            places[size] = stack.enter_context(filled(size, amounts or Amounts(), at=at))
            tell(f"{size:,} allocations were seeded in {(timezone.now() - began).total_seconds():,.0f} s.")
        return [measured(page, places, rounds=rounds) for page in pages]


def filled(size: int, amounts: Amounts, *, at: datetime) -> AbstractContextManager[Place[Looked]]:
    """A copy of the empty database with so many allocations; gone afterwards."""
    return filled_by(lambda: seed(size, amounts, at=at), str(size))


@contextmanager
def filled_by(fill: Callable[[], L], suffix: str) -> Iterator[Place[L]]:
    """A copy of the empty database, filled; gone afterwards."""
    empty = connections["default"]
    name = f"{empty.settings_dict['NAME']}_{suffix}"
    close(empty)
    maintain(empty, "CREATE DATABASE {} TEMPLATE {}", name, str(empty.settings_dict["NAME"]))
    own = empty.copy()
    own.settings_dict["NAME"] = name
    try:
        with standing_on(own):
            looked = fill()
            execute("SET max_parallel_workers_per_gather = 0")  # a session's own time is all of its time
            place = Place(own, number("SELECT pg_backend_pid()"), looked)
        yield place
    finally:
        close(own)
        maintain(empty, "DROP DATABASE {} WITH (FORCE)", name)


@contextmanager
def standing_on(database: BaseDatabaseWrapper) -> Iterator[None]:
    """Whatever asks for the database is led to this one."""
    before = connections["default"]
    connections["default"] = database
    try:
        yield
    finally:
        connections["default"] = before


def measured(page: Page[L], places: Mapping[int, Place[L]], *, rounds: int) -> Measured:
    """Open a page so many times at each size, by turns, after it was opened a few times without being counted."""
    clients, queries = {}, {}
    spent: dict[int, list[Spent]] = {size: [] for size in places}
    for size, place in places.items():
        with standing_on(place.connection):
            clients[size] = Client(headers={"host": "localhost"})
            clients[size].force_login(page.who(place.looked))
            for _ in range(WARM_UP):
                with CaptureQueriesContext(place.connection) as captured:
                    open_page(clients[size], page.address(place.looked))
            queries[size] = len(captured)
    gc.collect()
    order = list(places)
    for turn in range(rounds):
        for n in range(len(order)):
            size = order[(turn + n) % len(order)]
            place = places[size]
            with standing_on(place.connection):
                address = page.address(place.looked)
                client, server = process_time_ns(), nanoseconds_of(place.session)
                open_page(clients[size], address)
                here, there = process_time_ns() - client, nanoseconds_of(place.session) - server
            spent[size].append(Spent(here / 1e6, there / 1e6))
    return Measured(page.name, spent, queries)


def open_page(client: Client, address: str) -> None:
    """Read the page to its end. Raises RuntimeError when the portal does not give it."""
    response = client.get(address)
    if response.status_code != 200:
        raise RuntimeError(f"{address} answered {response.status_code}.")
    b"".join(response)  # a file is made while it is read


def nanoseconds_of(process: int) -> int:
    """Processor time of a process of this machine, to the nanosecond (proc(5) has it in hundredths of a second)."""
    return int(Path(f"/proc/{process}/schedstat").read_text().split()[0])


def sizes_in_words(results: Sequence[Measured]) -> str:
    *sizes, last = sorted(results[0].spent)
    return f"{', '.join(f'{size:,}' for size in sizes)} or {last:,}"


def table(results: Sequence[Measured]) -> str:
    """The results as a Markdown table, which reads well in a terminal too."""
    sizes = sorted(results[0].spent)
    heads = " | ".join(f"{size:,}" for size in sizes)
    lines = [
        f"| ms (queries) with so many allocations | {heads} | growth | limit |",
        f"|---|{'---:|' * len(sizes)}---:|---:|",
    ]
    for result in results:
        figures = " | ".join(f"{result.milliseconds(size):.1f} ({result.queries[size]})" for size in sizes)
        mark = "" if result.keeps_the_limits else " (not kept)"
        lines.append(f"| {result.page} | {figures} | **{result.growth:.2f}** | ≤ {GROWTH_LIMIT}{mark} |")
    return "\n".join(lines)
