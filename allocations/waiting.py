"""Runs that waited: imported when no allocation took them, and charged once a mapping says whose they are."""

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction

from allocations import staging
from allocations.models import JobRun
from allocations.recharging import RUN_COLUMNS, recharge
from centre.models import Cluster


@transaction.atomic
def charge_waiting_runs(*, clusters: Iterable[Cluster], at: datetime) -> int:
    """Charge what has waited on these clusters, as it should be now; returns the GPU-seconds posted.

    For who maps a pool: a mapping is only ever added where there was none, so it moves waiting runs and no others.
    """
    posted = 0
    for cluster in sorted(clusters, key=lambda each: each.pk):
        staging.lock_cluster(cluster.pk)
        if not JobRun.objects.filter(cluster=cluster).unmatched().exists():
            continue
        with staging.temporary_table("changed_run", RUN_COLUMNS):
            staging.execute(
                "INSERT INTO changed_run (run_id) "
                "SELECT id FROM allocations_jobrun WHERE cluster_id = %s AND unmatched_seconds > 0",
                [cluster.pk],
            )
            posted += recharge(cluster=cluster, source_reference=f"mapping-{at:%Y%m%dT%H%M%S}", at=at)
    return posted
