"""Closed periods and take-backs by rule: what became of unused GPU time against the rule that says so."""

from collections.abc import Iterator

from allocations.models import TakeBackWarning


def wrong_take_backs() -> Iterator[str]:
    """What was taken back after a warning is a forfeit on its allocation, by the two people who made the rule."""
    taken = TakeBackWarning.objects.filter(outcome="taken").select_related("entry", "rule").order_by("pk")
    for warning in taken.iterator():
        entry, rule = warning.entry, warning.rule
        if entry is None or (entry.kind, entry.allocation_id) != ("forfeit", warning.allocation_id):
            yield f"Take-back warning {warning.pk}: entry {warning.entry_id} is no forfeit on its allocation."
        elif (entry.asked_by_id, entry.approved_by_id) != (rule.asked_by_id, rule.approved_by_id):
            yield f"Take-back warning {warning.pk}: others stand behind entry {entry.pk} than behind its rule."
