"""PROMISE 12: the time zones of server, database, session and importer do not matter."""

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from tests import make
from tests.allocations.import_model import books_of
from tests.allocations.life_exports import Look, whole_look
from tests.allocations.slurm_life import DAY
from tests.allocations.stored_books import stored_books
from tests.postgres.import_batches import BEGIN, batch_of, place_of
from tests.postgres.import_queues import standing

pytestmark = pytest.mark.usefixtures("committed")
ROOT = Path(__file__).resolve().parent.parent.parent
PLACES = (("UTC", "UTC"), ("America/St_Johns", "Pacific/Kiritimati"), ("Pacific/Apia", "America/Los_Angeles"))
"""Of the importer's process, and of the database."""


def imported(look: Look, zone: ZoneInfo, *, cluster: str, file: Path, process: str) -> None:
    """`manage.py import_usage`, with times and instant as people in the cluster's place write them."""
    file.write_bytes(look.text(look.rows, zone))
    where = connection.get_connection_params()
    asked = urlencode({name: where[name] for name in ("host", "port", "user", "password") if where.get(name)})
    as_of = datetime.fromtimestamp(look.as_of, zone).strftime("%Y-%m-%dT%H:%M:%S")
    command = ["manage.py", "import_usage", "--cluster", cluster, "--as-of", as_of, str(file)]
    env = {**os.environ, "DATABASE_URL": f"postgres:///{where['dbname']}?{asked}", "TZ": process, "PGTZ": process}
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_zones_of_process_and_database_do_not_matter(tmp_path: Path) -> None:
    project = make.project()
    batch = batch_of(1, range(12))
    zone = ZoneInfo("Asia/Hong_Kong")
    chance = batch.lives[0].chance
    looks = [whole_look(batch.lives, at=BEGIN + days * DAY, chance=chance, iso=True) for days in (3, 6)]
    plan = standing(batch.plan)
    books = []
    for process, database in PLACES:
        with connection.cursor() as cursor:
            name = connection.ops.quote_name(str(connection.settings_dict["NAME"]))
            cursor.execute(f"ALTER DATABASE {name} SET timezone TO '{database}'")
        cluster = place_of(batch, project=project, zone=zone).cluster
        for number, look in enumerate(looks):
            imported(look, zone, cluster=cluster.code, file=tmp_path / f"{number}.txt", process=process)
        books.append(stored_books(cluster.pk))
    model = books_of(looks, plan=plan, zone=zone, stored={})
    assert [each.differences(model) for each in books] == [[]] * len(PLACES)
    assert sum(model.totals.values()) > 0
