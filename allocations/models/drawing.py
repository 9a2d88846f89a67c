"""Further Slurm accounts that draw on an allocation, from one day to another."""

from datetime import date
from typing import Self

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Greatest, Least
from django.utils.translation import gettext_lazy as _

from allocations.models.allocation import SLURM_ACCOUNT, Allocation
from centre.models import Cluster, GpuPool, User


class DrawingAccountQuerySet(models.QuerySet["DrawingAccount"]):
    def standing(self) -> Self:
        """Those that count: not withdrawn, and their allocation is not void."""
        return self.filter(withdrawn_at__isnull=True).exclude(allocation__state=Allocation.State.VOID)

    def spans(self, cluster: Cluster) -> list[tuple[int, str, int, date, date]]:
        """(pool, Slurm account, allocation, first day, last day) of what draws on a cluster, in the period there."""
        rows = (
            self.standing()
            .filter(pool__cluster=cluster)
            .annotate(first=Greatest("from_on", "allocation__start_on"), last=Least("until_on", "allocation__end_on"))
        )
        return list(rows.values_list("pool_id", "account", "allocation_id", "first", "last"))


class DrawingAccount(models.Model):
    """A Slurm account that draws on an allocation beside the one that the allocation names itself.

    At most one allocation covers an account, pool and day, be it by its own name or by a row here: the rules
    one_drawing_account_per_pool_and_day and the two cross checks in centre/triggers.py. A row that was withdrawn counts
    for no day and stays as history.
    """

    allocation = models.ForeignKey(
        Allocation, on_delete=models.PROTECT, related_name="drawing_accounts", verbose_name=_("allocation")
    )
    pool = models.ForeignKey(
        GpuPool, on_delete=models.PROTECT, related_name="+", verbose_name=_("GPU pool"), editable=False, db_index=False
    )
    account = models.CharField(_("Slurm account"), max_length=128, validators=[SLURM_ACCOUNT])
    from_on = models.DateField(_("first day"))
    until_on = models.DateField(_("last day"))
    reason = models.CharField(_("reason"), max_length=500)
    made_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", verbose_name=_("by"))
    made_at = models.DateTimeField(_("at"))
    withdrawn_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("withdrawn by")
    )
    withdrawn_at = models.DateTimeField(_("withdrawn at"), null=True, blank=True)

    objects = DrawingAccountQuerySet.as_manager()

    class Meta:
        verbose_name = _("further Slurm account")
        verbose_name_plural = _("further Slurm accounts")
        ordering = ("-id",)
        indexes = (models.Index(fields=("pool", "account", "from_on"), name="drawing_account_by_account"),)
        constraints = (
            models.CheckConstraint(
                name="drawing_account_ends_after_it_starts", condition=Q(until_on__gte=F("from_on"))
            ),
            models.CheckConstraint(
                name="a_withdrawn_account_says_by_whom_and_when",
                condition=Q(withdrawn_by__isnull=True, withdrawn_at__isnull=True)
                | Q(withdrawn_by__isnull=False, withdrawn_at__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return self.account
