"""`make bench`: measure, print, and write docs/benchmarks.md.

python -m tests.benchmarks              every section
python -m tests.benchmarks ledger       only the sections that are named

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

ON_SQLITE = "ledger-on-sqlite"
"""Not for people: the part of a section that needs a process of its own, for it is on another database."""


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
        on_sqlite = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks", ON_SQLITE], stdout=subprocess.PIPE, text=True, check=True
        ).stdout.strip()
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


def ledger_on_sqlite() -> bool:
    """Print the figure of one writer on SQLite."""
    scratch = Path(tempfile.mkdtemp(prefix="portal-benchmarks."))
    os.environ.update(environment(scratch, f"sqlite:///{scratch / 'portal.sqlite3'}"))
    try:
        with own_database() as database:
            from tests.benchmarks.ledger import alone

            print(f"{database}: {alone(2_000):,.0f}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return True


SECTIONS: dict[str, Callable[[], bool]] = {"ledger": ledger}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure how fast the portal is.")
    parser.add_argument("sections", nargs="*", help=f"some of: {' '.join(SECTIONS)}")
    asked = parser.parse_args().sections or list(SECTIONS)
    if asked == [ON_SQLITE]:
        return 0 if ledger_on_sqlite() else 1
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
