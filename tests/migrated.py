"""The migrated SQLite database, kept below .cache: migrations are carried out once, not by every process of every run.

What is kept is named after everything that it was made from, and `migrate` runs on each copy all the same.
"""

import hashlib
import os
import shutil
import sqlite3
import sys
from pathlib import Path

import django

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / ".cache" / "migrated"
AT_MOST = 3


def kept() -> Path:
    """Where the database of the present migrations, models and database rules is kept, if it is."""
    digest = hashlib.sha256(f"{sys.version} {django.__version__} {sqlite3.sqlite_version}".encode())
    for path in sorted(made_from()):
        digest.update(f"\0{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return KEPT / f"{digest.hexdigest()[:24]}.sqlite3"


def made_from() -> set[Path]:
    """The files that decide what a migrated database looks like."""
    found = {ROOT / "requirements.txt"}
    for app in ("centre", "allocations", "subsidies"):
        for pattern in ("migrations/*.py", "models/*.py", "triggers.py", "apps.py", "settings.py"):
            found |= set((ROOT / app).glob(pattern))
    return found


def take(database: str) -> Path:
    """Begin with a copy of the kept database; without one, with nothing. Returns where what comes of it is kept."""
    if (source := kept()).exists():
        shutil.copyfile(source, database)
    return source


def keep(database: str, target: Path) -> None:
    """Keep a copy of the migrated database, unless it is there, or its sources changed meanwhile; old ones go."""
    if target.exists() or target != kept():
        return
    KEPT.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(f".{os.getpid()}")
    with sqlite3.connect(database) as source, sqlite3.connect(unfinished) as copy:
        source.backup(copy)
    copy.close()
    source.close()
    unfinished.replace(target)
    for path in sorted(KEPT.glob("*.sqlite3"), key=lambda path: path.stat().st_mtime)[:-AT_MOST]:
        path.unlink(missing_ok=True)
