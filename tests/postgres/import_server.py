"""A PostgreSQL for one test alone, which may be stopped at once and may run out of disk; and small disks."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import connections
from psycopg.conninfo import make_conninfo

from tests.databases import close
from tests.postgres_server import TUNING, Server, fetched, installed

DURABLE = {
    **TUNING,
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "64MB",
    "max_connections": "30",
}


@contextmanager
def own_server() -> Iterator[Server]:
    """A server that keeps what it has committed, with a copy of the migrated database; `default` points to it."""
    bin_dir = installed() or fetched()
    assert bin_dir is not None, "the programs of a PostgreSQL server are needed; PG_BIN names their folder"
    server = Server(bin_dir=bin_dir, tuning=DURABLE)
    wrapper = connections["default"]
    before = dict(wrapper.settings_dict)
    try:
        server.start()
        copy_into(server, wrapper.get_connection_params())
        close(wrapper)
        options = {**wrapper.settings_dict["OPTIONS"], "host": str(server.folder)}
        wrapper.settings_dict.update(HOST="", PORT="", USER="app", PASSWORD="", NAME="postgres", OPTIONS=options)
        yield server
    finally:
        close(wrapper)
        wrapper.settings_dict.update(before)
        server.stop()


def copy_into(server: Server, source: dict[str, Any]) -> None:
    """Copy the migrated test database: in a tenth of the time that the migrations take."""
    where = {name: source[name] for name in ("host", "port", "user", "password", "dbname") if source.get(name)}
    pg_dump = [str(server.bin_dir / "pg_dump"), "-d", make_conninfo("", **where)]
    dumped = subprocess.run(pg_dump, env=server.env, capture_output=True, check=False)
    assert dumped.returncode == 0, dumped.stderr.decode()
    psql = [str(server.bin_dir / "psql"), "-q", "-v", "ON_ERROR_STOP=1", "-h", str(server.folder), "-U", "app"]
    subprocess.run([*psql, "postgres"], env=server.env, input=dumped.stdout, capture_output=True, check=True)


@contextmanager
def small_disk(folder: Path, *, kilobytes: int) -> Iterator[bool]:
    """A disk of so many kilobytes at a folder; False where this system lets nobody mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    mounted = bool(shutil.which("mount")) and subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def filled_up(folder: Path, *, but: int) -> Iterator[None]:
    """For the length of the block there are only so many bytes left on the disk of a folder."""
    ballast = folder / "ballast"
    free = os.statvfs(folder)
    with ballast.open("wb") as file:
        file.write(b"x" * max(0, free.f_bavail * free.f_frsize - but))
    try:
        yield
    finally:
        ballast.unlink()
