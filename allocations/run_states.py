"""The states in which Slurm leaves a job run, in words that people use, and the tone of their badge."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

WORDS: dict[str, tuple[Promise, str]] = {
    "PENDING": (_("Waiting"), "quiet"),
    "RUNNING": (_("Running"), "info"),
    "SUSPENDED": (_("Paused"), "warn"),
    "RESIZING": (_("Changing size"), "info"),
    "COMPLETING": (_("Finishing"), "info"),
    "COMPLETED": (_("Completed"), "ok"),
    "REQUEUED": (_("Queued again"), "quiet"),
    "PREEMPTED": (_("Made way"), "quiet"),
    "CANCELLED": (_("Cancelled"), "quiet"),
    "REVOKED": (_("Cancelled"), "quiet"),
    "TIMEOUT": (_("Time limit reached"), "warn"),
    "DEADLINE": (_("Deadline missed"), "warn"),
    "FAILED": (_("Failed"), "bad"),
    "OUT_OF_MEMORY": (_("Out of memory"), "bad"),
    "NODE_FAIL": (_("Machine failed"), "bad"),
    "BOOT_FAIL": (_("Machine failed"), "bad"),
}


def in_words(state: str) -> tuple[Promise | str, str]:
    """A run's state as (text, tone); `CANCELLED by 1000` is cancelled; one that nobody knows is shown as it came."""
    return WORDS.get(state.partition(" ")[0], (state, "quiet"))
