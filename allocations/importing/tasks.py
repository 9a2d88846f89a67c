"""What the background worker (`manage.py db_worker`) is asked to do: look whether an import is due.

The task is only the nudge; what is to be done stands on the rows of the imports. A worker that dies takes its task with
it, so before it works each run asks for another look at the time when its lease will have run out.
"""

from datetime import datetime, timedelta

from django.utils import timezone
from django_tasks import task

from allocations.importing import working
from allocations.models import UsageImport


@task()
def import_received() -> int:
    """Import what is due; returns how many imports were worked on."""
    if not UsageImport.objects.unfinished().exists():
        return 0
    nudge(at=timezone.now() + working.LEASE + timedelta(seconds=5))
    return len(working.work_through(clock=timezone.now, worker=working.this_worker()))


def nudge(*, at: datetime | None = None) -> None:
    """Ask the worker to look, at once or from an instant on."""
    import_received.using(run_after=at).enqueue()
