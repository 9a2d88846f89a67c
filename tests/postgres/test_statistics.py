"""An import that was rolled back leaves pages behind of which PostgreSQL believes that they are empty."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, transaction

from allocations import staging
from allocations.importing.statistics import correct_statistics
from tests import make

pytestmark = pytest.mark.usefixtures("committed")
START = datetime(2026, 3, 2, 9, tzinfo=ZoneInfo("Asia/Hong_Kong"))


def believed_runs() -> tuple[int, int]:
    """Pages and rows of the job runs, as the planner has them."""
    return staging.rows("SELECT relpages, reltuples::bigint FROM pg_class WHERE relname = 'allocations_jobrun'")[0]


def test_statistics_after_a_rolled_back_import_are_corrected_before_the_next_joins() -> None:
    allocation = make.allocation()
    runs = [make.run(allocation=allocation, start_at=START) for _ in range(400)]
    with transaction.atomic():
        make.imported(*runs, cluster=allocation.pool.cluster)
        transaction.set_rollback(True)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE, TRUNCATE off) allocations_jobrun")
    pages, rows = believed_runs()
    assert (pages > 8, rows) == (True, 0)

    make.imported(*runs, cluster=allocation.pool.cluster)

    assert believed_runs()[1] == 400


def test_sound_statistics_are_left_alone() -> None:
    before = believed_runs()
    correct_statistics()
    assert believed_runs() == before
