"""Importing a cluster's usage at once: what the command does, and everybody who need not leave it to the worker."""

from datetime import datetime
from zoneinfo import ZoneInfo

from allocations.importing import working
from allocations.importing.receiving import receive
from allocations.importing.stored_files import Readable
from allocations.models import UsageImport
from allocations.slurm.header import UnreadableExport
from centre.models import Cluster, User

__all__ = ["UnreadableExport", "import_usage"]


def import_usage(
    *,
    stream: Readable,
    file_name: str,
    cluster: Cluster,
    at: datetime,
    by: User | None = None,
    as_of: datetime | None = None,
    covers_from: datetime | None = None,
    zone: ZoneInfo | None = None,
    source: UsageImport.Source = UsageImport.Source.COMMAND,
) -> UsageImport:
    """Keep and import the output of `sacct -a -X -P --duplicates`; returns the import with its counts.

    `as_of` is the instant at which sacct ran: unfinished runs are charged up to it. Without it the latest instant in
    the file stands in for it, and the import says so. `covers_from` is the beginning of the window (-S). Times without
    an offset are in `zone`, by default the cluster's. Raises UnreadableExport: with nothing kept when the file cannot
    be an export, else with the import kept as failed and nothing charged.
    """
    usage_import, _is_new = receive(
        stream=stream,
        file_name=file_name,
        cluster=cluster,
        source=source,
        at=at,
        by=by,
        as_of=as_of,
        covers_from=covers_from,
        zone=zone,
        claimed_by=working.this_worker(),
    )
    working.work_on(usage_import, at=at)
    return usage_import
