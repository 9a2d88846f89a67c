"""What was done, by whom, to what: the audit trail. Rows are written by `centre.audit.record` and never change."""

from django.db import models
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from centre.models.people import User

NAMED_BY_A_WORD = frozenset(
    {
        "centre.appointment",
        "centre.membership",
        "allocations.changerequest",
        "allocations.ledgerentry",
        "subsidies.decision",
        "subsidies.fundentry",
        "subsidies.subsidyproject",
    }
)
"""Kinds of objects whose name is a choice, such as “Auditor”; the trail keeps it in English."""


class Event(models.Model):
    """One act: who, what, on which object, when, from where, why, and what changed from what to what."""

    at = models.DateTimeField(_("at"), db_index=True)
    actor = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("by"), db_index=False
    )
    act = models.CharField(_("act"), max_length=60)
    object_type = models.CharField(_("kind of object"), max_length=80)
    object_id = models.CharField(_("object number"), max_length=40)
    object_name = models.CharField(_("object"), max_length=300)
    reason = models.TextField(_("reason"), blank=True)
    changes = models.JSONField(_("changes"), default=dict)
    address = models.GenericIPAddressField(_("network address"), null=True)

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        ordering = ("-id",)
        indexes = (
            models.Index(fields=("object_type", "object_id", "-id"), name="event_of_object"),
            models.Index(fields=("actor", "-id"), name="event_of_actor"),
        )

    def __str__(self) -> str:
        return f"{self.object_in_words} (#{self.pk})"

    @property
    def object_in_words(self) -> str:
        """The object's name; where that is a word of the portal, such as a role, in the reader's language."""
        is_a_word = self.object_type in NAMED_BY_A_WORD and self.object_name
        return gettext(self.object_name) if is_a_word else self.object_name
