"""`make bench`: measure, print, and write docs/benchmarks.md.

python -m tests.benchmarks              every section
python -m tests.benchmarks ledger       only the sections that are named (ledger, import, pages, admin)

Exit 1 when a limit is not kept, 2 when no PostgreSQL was found.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.postgres_server import postgres


def environment(scratch: Path, database_url: str) -> dict[str, str]:
    """Nothing of the developer's database, files or key."""
    return {
        "DJANGO_SETTINGS_MODULE": "centre.settings",
        "DATABASE_URL": database_url,
        "SECRET_KEY": "only-for-benchmarks-" + "z" * 50,
        "VAR_DIR": str(scratch),
        "HTTPS": "false",
        "DEBUG": "false",
        "CACHE_URL": "locmemcache://",
    }


@contextmanager
def own_database() -> Iterator[str]:
    """A migrated database of our own; gives its kind and version."""
    import django
    from django.conf import settings
    from django.db import connection
    from django.test.utils import setup_databases, teardown_databases

    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    django.setup()
    on_postgres = connection.vendor == "postgresql"
    default = settings.DATABASES["default"]
    name = f"benchmarks_{os.getpid()}"
    default["TEST"]["NAME"] = name if on_postgres else str(Path(settings.VAR_DIR) / f"{name}.sqlite3")
    made = setup_databases(verbosity=0, interactive=False)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW server_version" if on_postgres else "SELECT sqlite_version()")
            version = cursor.fetchone()[0].split()[0]
        yield f"{'PostgreSQL' if on_postgres else 'SQLite'} {version}"
    finally:
        teardown_databases(made, verbosity=0)


def ledger() -> bool:
    """Postings per second; whether the limit is kept."""
    with own_database() as database:
        from tests.benchmarks import ledger as section
        from tests.benchmarks.page import circumstances, write_section

        rounds = 11
        measured = section.measure(rounds=rounds, threads=16, postings=60, allocations=1_000)
        on_sqlite = said_by("ledger-on-sqlite")
        text = f"""## Ledger

A posting is `allocations.ledger.top_up`: the ledger entry, the allocation's total and the event of the audit trail, in
one transaction. The *floor* is the same statements, sent as bare SQL with parameters prepared beforehand, in Django's
`atomic()` and from the same client. The *row lock* is the usual way instead: SELECT .. FOR UPDATE, check, UPDATE and
two INSERTs through the ORM. Nothing waits for the disk (`fsync` and `synchronous_commit` are off), which leaves the
difference between the ways as large as it can be.

{section.table(measured)}

Medians of {rounds} rounds, in each of which every way had its turn with {measured.threads * measured.postings}
postings; in brackets the least and the greatest round. Afterwards `verify_ledger` found no difference.

One writer alone on {on_sqlite} postings per second.

{circumstances("make bench", f"{database}, Python {sys.version.split()[0]}")}
"""
        write_section("ledger", text)
        print(text)
        return measured.keeps_the_limit


def imports() -> bool:
    """Processor time of imports of three sizes; whether the limits are kept."""
    results = []
    for runs, stored in ((100_000, 0), (1_000_000, 0), (1_000_000, 10_000_000)):
        with own_database() as database, tempfile.TemporaryDirectory(prefix="portal-benchmarks.") as scratch:
            from tests.benchmarks import imports as section
            from tests.benchmarks.page import circumstances, write_section

            results.append(section.measure(runs=runs, stored=stored, scratch=Path(scratch)))
        print(section.table(results[-1:]), flush=True)
    on_sqlite = said_by("import-on-sqlite")
    text = f"""## Import

An export of made-up runs is received (kept, compressed) and imported as the worker does: read from the kept file,
checked, merged, charged and written to the audit trail. The *baseline* takes the rows which that made and writes them
with psycopg (`write_row` of a `COPY`) into identical copies of every table that the import fills, with all columns,
indexes, constraints and foreign keys, in one transaction. Counted is processor time, in the importing process and in
its database session, without parallel workers.

{section.table(results)}

{section.memory(results)} On
{on_sqlite}

{circumstances("make bench", f"{database}, Python {sys.version.split()[0]}")}
"""
    write_section("import", text)
    print(text)
    return all(result.keeps_the_limits for result in results)


def pages() -> bool:
    """What pages cost with few and with many allocations; whether all of them keep the limits."""
    with own_database() as database:
        from tests.benchmarks import pages as section
        from tests.benchmarks.page import circumstances, write_section

        results = section.measure(tell=lambda line: print(line, flush=True))
    text = f"""## Pages

The pages of teams, where the centre has {section.sizes_in_words(results)} allocations: three databases, each with
1,000,000 ledger entries and 5,000,000 job runs in all. The project that is looked at has four allocations with 2,000
entries and 10,000 runs of its own at every size, so what grows is what depends on the rest. In brackets stands how many
queries a page makes; the limit is {section.QUERY_LIMIT}. Counted is processor time of one request (Django's test client
in the measuring process, so everything but the web server) and of its database session, without parallel workers.

{section.table(results)}

Medians of {section.ROUNDS} rounds, in which the databases took turns; growth is the median of each round's ratio
between the most and the fewest allocations.

{circumstances("make bench", f"{database}, Python {sys.version.split()[0]}")}
"""
    write_section("pages", text)
    print(text)
    for result in (result for result in results if not result.keeps_the_limits):
        print(f"!!! The page “{result.page}”: growth {result.growth:.2f}, {max(result.queries.values())} queries.")
    return all(result.keeps_the_limits for result in results)


def admin() -> bool:
    """What lists and forms of the administration cost with many rows; whether all of them keep the limits."""
    with own_database() as database:
        from tests.benchmarks import admin as section
        from tests.benchmarks.page import circumstances, write_section

        results = section.measure(tell=lambda line: print(line, flush=True))
    text = f"""## Administration

Every list of the administration where there are 1,000,000 job runs and 1,000,000 ledger entries, and as many of the
rest as stand beside it: opened as it is, on the last page that is counted, searched, and with every choice of every
filter. And every form, page of a row, history and act, with {section.FEW.rows:,} and with {section.MANY.rows:,} runs
and entries. Who looks has every staff role. In brackets stands how many queries a page makes. Counted is processor time
of one request (Django's test client, so everything but the web server) and of its database session, without parallel
workers: medians of {section.ROUNDS} rounds.

{section.table_of_lists(results)}

What is filled in or looked at stays the same, so a form may not grow; its rounds take turns between the databases. One
that seems to grow is measured again, three times as long, and that counts.

{section.table_of_forms(results)}

{circumstances("make bench", f"{database}, Python {sys.version.split()[0]}")}
"""
    write_section("admin", text)
    print(text)
    for sentence in results.beyond:
        print(f"!!! {sentence}")
    return not results.beyond


@contextmanager
def on_sqlite() -> Iterator[tuple[str, Path]]:
    """A migrated SQLite database in a folder of its own: its kind and version, and the folder."""
    scratch = Path(tempfile.mkdtemp(prefix="portal-benchmarks."))
    os.environ.update(environment(scratch, f"sqlite:///{scratch / 'portal.sqlite3'}"))
    try:
        with own_database() as database:
            yield database, scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def ledger_on_sqlite() -> None:
    """Print the figure of one writer on SQLite."""
    with on_sqlite() as (database, _scratch):
        from tests.benchmarks.ledger import alone

        print(f"{database}: {alone(2_000):,.0f}")


def imports_on_sqlite() -> None:
    """Print what an import of a million runs costs on SQLite."""
    with on_sqlite() as (database, scratch):
        from tests.benchmarks.imports import alone, sentence

        runs = 1_000_000
        print(f"{database}, {sentence(alone(runs=runs, scratch=scratch), runs)}")


def said_by(part: str) -> str:
    """What a part prints that runs in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks", part]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


SECTIONS: dict[str, Callable[[], bool]] = {"ledger": ledger, "import": imports, "pages": pages, "admin": admin}
ON_SQLITE: dict[str, Callable[[], None]] = {"ledger-on-sqlite": ledger_on_sqlite, "import-on-sqlite": imports_on_sqlite}
"""Not for people: the parts of sections that need a process of their own, for they are on another database."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure how fast the portal is.")
    parser.add_argument("sections", nargs="*", help=f"some of: {' '.join(SECTIONS)}")
    asked = parser.parse_args().sections or list(SECTIONS)
    if asked[0] in ON_SQLITE:
        ON_SQLITE[asked[0]]()
        return 0
    if unknown := set(asked) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped and folders are removed
    scratch = Path(tempfile.mkdtemp(prefix="portal-benchmarks."))
    try:
        with postgres() as url:
            if url is None:
                print("No PostgreSQL was found (apt-get install postgresql).")
                return 2
            os.environ.update(environment(scratch, url))
            kept = {name: SECTIONS[name]() for name in asked}
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for name in (name for name, is_kept in kept.items() if not is_kept):
        print(f"!!! The section {name} does not keep its limit.")
    return 0 if all(kept.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
