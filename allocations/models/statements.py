"""Statements: what a project's team was told of a month, numbered, and the same for ever."""

from typing import Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from centre.models import Project, User


class StatementQuerySet(models.QuerySet["Statement"]):
    def visible_to(self, user: User) -> Self:
        """The statements of the projects that the person may see."""
        return self.filter(project__in=Project.objects.visible_to(user))


class Statement(models.Model):
    """The issued statement of one project and month; never changed (see centre/triggers.py).

    It tells of the ledger entries with a number up to `last_entry` whose day is in the month or before it, and which
    the project's statement before did not tell of: what is recorded later for its days is an adjustment in the next.
    """

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="statements", verbose_name=_("project"))
    month = models.DateField(_("month"), help_text=_("Its first day."))
    sequence = models.PositiveIntegerField(_("running number"), unique=True)
    last_entry = models.BigIntegerField(_("last ledger entry that it knows"))
    as_of = models.DateTimeField(_("as of"))
    issued_at = models.DateTimeField(_("issued at"))
    issued_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("issued by")
    )
    content = models.TextField(_("content"), help_text=_("The figures as JSON, as they were issued."))
    digest = models.CharField(_("SHA-256 of the content"), max_length=64)

    objects = StatementQuerySet.as_manager()

    class Meta:
        verbose_name = _("statement")
        verbose_name_plural = _("statements")
        ordering = ("-month", "project")
        constraints = (
            models.UniqueConstraint(fields=("project", "month"), name="a_month_of_a_project_has_one_statement"),
            models.CheckConstraint(name="statement_knows_some_entry", condition=Q(last_entry__gte=0)),
        )

    def __str__(self) -> str:
        return self.number

    @property
    def number(self) -> str:
        """How people name it: the month and the running number."""
        return f"{self.month:%Y-%m}/{self.sequence:05d}"
