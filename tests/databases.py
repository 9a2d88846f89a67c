"""A database of one test's own, copied from the migrated one: `CREATE DATABASE .. TEMPLATE`, or a file copy."""

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

NUMBERS = itertools.count(1)


def close(connection: BaseDatabaseWrapper) -> None:
    """Close the connection and the pool behind it, so that the database can be copied or dropped."""
    connection.close()
    if hasattr(connection, "close_pool"):
        connection.close_pool()


def address() -> str:
    """The database that the test uses, as a process of its own is told of it: a DATABASE_URL."""
    connection = connections["default"]
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))


@contextmanager
def own_copy() -> Iterator[None]:
    """Point `default`, in this and in new threads, at a fresh copy of its database for as long as the block lasts."""
    connection = connections["default"]
    assert not connection.in_atomic_block, "`committed` stands alone: a test that uses it does not ask for `db`"
    original = str(connection.settings_dict["NAME"])
    close(connection)
    number = next(NUMBERS)
    copy = f"{original}_{os.getpid()}_{number}"
    if connection.vendor == "sqlite":
        copy = f"{original.removesuffix('.sqlite3')}_{number}.sqlite3"
        shutil.copyfile(original, copy)
    else:
        maintain(connection, "CREATE DATABASE {} TEMPLATE {}", copy, original)
    connection.settings_dict["NAME"] = copy
    try:
        yield
    finally:
        close(connection)
        connection.settings_dict["NAME"] = original
        if connection.vendor == "sqlite":
            for suffix in ("", "-wal", "-shm"):
                Path(copy + suffix).unlink(missing_ok=True)
        else:
            maintain(connection, "DROP DATABASE {} WITH (FORCE)", copy)


def maintain(connection: BaseDatabaseWrapper, statement: str, *names: str) -> None:
    """Run a statement on whole databases, from outside any of them."""
    quoted = [connection.ops.quote_name(name) for name in names]
    with connection._nodb_cursor() as cursor:
        cursor.execute(statement.format(*quoted))
