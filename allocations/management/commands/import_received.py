"""`manage.py import_received`: import what was received and waits, once; for where no worker runs."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from allocations.importing import working
from allocations.models import UsageImport


class Command(BaseCommand):
    help = "Import the files that were received and wait. The background worker does the same all the time."

    def handle(self, *args: Any, **options: Any) -> None:
        worked = working.work_through(clock=timezone.now, worker=working.this_worker())
        imports = UsageImport.objects.filter(pk__in=[usage_import.pk for usage_import in worked])
        states = [self.tell(usage_import) for usage_import in imports.select_related("cluster").order_by("pk")]
        wait = UsageImport.objects.unfinished().count()
        self.stdout.write(f"Imported: {states.count(UsageImport.State.DONE)}. Wait: {wait}.")
        if failed := states.count(UsageImport.State.FAILED):
            raise CommandError(f"Imports that failed: {failed}.", returncode=1)

    def tell(self, usage_import: UsageImport) -> str:
        """A line about an import that was worked on; returns its state."""
        name = f"Import {usage_import.pk} of {usage_import.cluster.code}"
        if usage_import.state == UsageImport.State.DONE:
            self.stdout.write(
                f"{name}: {usage_import.read} records read, {usage_import.accepted} accepted, "
                f"{usage_import.quarantined} quarantined, {usage_import.charged_gpu_seconds} GPU-seconds charged."
            )
        elif usage_import.state == UsageImport.State.FAILED:
            self.stderr.write(f"{name} failed, nothing was charged: {usage_import.error}")
        else:
            self.stderr.write(f"{name} will be tried again: {usage_import.error}")
        return usage_import.state
