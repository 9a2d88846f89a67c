"""How usage comes in: exports of a cluster's accounting, the tokens that may hand them over, lines nobody could read.

An import is a file that was received: it is kept, compressed, as long as the charges that rest on it. Its row is the
queue as well. A worker takes an import up for a while (a lease); when the worker dies, the lease runs out and another
one takes the import up again.
"""

from datetime import datetime
from typing import Any, Self

from django.db import models
from django.db.models import F, OuterRef, Q, Subquery
from django.utils.translation import gettext_lazy as _

from centre.models import Cluster, User

MOST_CLAIMS = 8
"""How often an import is taken up before it is called failed."""


class ImportToken(models.Model):
    """What a collector proves with that it may hand over the usage of one cluster. Only its digest is kept."""

    cluster = models.ForeignKey(
        Cluster, on_delete=models.PROTECT, related_name="import_tokens", verbose_name=_("cluster")
    )
    label = models.CharField(_("where it is used"), max_length=80)
    prefix = models.CharField(_("begins with"), max_length=16, unique=True)
    digest = models.CharField(_("SHA-256 of the token"), max_length=64, unique=True)
    made_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", verbose_name=_("made by"))
    made_at = models.DateTimeField(_("made at"))
    revoked_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("revoked by")
    )
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True)
    last_used_at = models.DateTimeField(_("last used at"), null=True, blank=True)

    class Meta:
        verbose_name = _("import token")
        verbose_name_plural = _("import tokens")
        ordering = ("-id",)
        constraints = (
            models.CheckConstraint(
                name="a_revoked_token_says_by_whom_and_when",
                condition=Q(revoked_by__isnull=True, revoked_at__isnull=True)
                | Q(revoked_by__isnull=False, revoked_at__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return f"{self.label} ({self.prefix}…)"


class UsageImportQuerySet(models.QuerySet["UsageImport"]):
    def latest_as_of(self) -> dict[int, datetime]:
        """As of when each cluster's figures are: the instant of its latest import that is done.

        Whether a window is missing before it, `importing.health` tells.
        """
        latest = Subquery(self.as_of_cluster(OuterRef("pk")))
        clusters = Cluster.objects.annotate(imported_as_of=latest).filter(imported_as_of__isnull=False)
        return dict(clusters.values_list("pk", "imported_as_of"))

    def as_of_cluster(self, cluster: Any) -> models.QuerySet["UsageImport", Any]:
        """One row with the instant of the latest import of a cluster (or an OuterRef to one) that is done."""
        done = self.of_exports().filter(cluster=cluster, state=UsageImport.State.DONE, as_of__isnull=False)
        return done.order_by("-as_of").values("as_of")[:1]

    def of_exports(self) -> Self:
        """Imports of whole exports, not of a single record that somebody mended."""
        return self.exclude(source=UsageImport.Source.MENDED)

    def unfinished(self) -> Self:
        return self.filter(state__in=(UsageImport.State.RECEIVED, UsageImport.State.RUNNING))

    def claimable(self, *, at: datetime) -> Self:
        """What a worker may take up at that instant: what is due, and what another worker has let fall."""
        due = Q(state=UsageImport.State.RECEIVED) & (Q(try_again_at__isnull=True) | Q(try_again_at__lte=at))
        return self.filter(due | Q(state=UsageImport.State.RUNNING, lease_until__lte=at))


class UsageImport(models.Model):
    """One export of a cluster's accounting, as it was received."""

    class State(models.TextChoices):
        RECEIVED = "received", _("Received")
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")

    class Source(models.TextChoices):
        COMMAND = "command", _("Command")
        COLLECTOR = "collector", _("Collector")
        UPLOAD = "upload", _("Upload")
        MENDED = "mended", _("Mended record")

    class Phase(models.TextChoices):
        READING = "reading", _("Reading the file")
        MERGING = "merging", _("Charging what changed")

    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="imports", verbose_name=_("cluster"))
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.RECEIVED)
    source = models.CharField(_("handed over by"), max_length=10, choices=Source.choices, default=Source.COMMAND)
    token = models.ForeignKey(
        ImportToken, on_delete=models.PROTECT, null=True, blank=True, related_name="imports", verbose_name=_("token")
    )
    file_name = models.CharField(_("file"), max_length=300)
    sha256 = models.CharField(_("SHA-256 of the file"), max_length=64, blank=True)
    size_bytes = models.BigIntegerField(_("size (bytes)"), default=0)
    stored_as = models.CharField(_("kept as"), max_length=300, blank=True)
    stored_bytes = models.BigIntegerField(_("size as kept, compressed (bytes)"), default=0)
    header = models.TextField(_("first line of the file"), blank=True)
    time_zone = models.CharField(_("time zone of the file"), max_length=60)
    as_of = models.DateTimeField(_("as of"), null=True, help_text=_("The instant at which sacct ran."))
    as_of_was_given = models.BooleanField(_("the instant was given"), default=False)
    covers_from = models.DateTimeField(
        _("window begins"), null=True, blank=True, help_text=_("What sacct was told by -S; the window ends at “as of”.")
    )
    warning = models.TextField(_("warning"), blank=True)
    error = models.TextField(_("error"), blank=True)
    read = models.BigIntegerField(_("records read"), default=0)
    accepted = models.BigIntegerField(_("accepted"), default=0)
    unchanged = models.BigIntegerField(_("unchanged"), default=0)
    ignored = models.BigIntegerField(_("ignored"), default=0)
    quarantined = models.BigIntegerField(_("quarantined"), default=0)
    unmatched = models.BigIntegerField(_("runs without an allocation"), default=0)
    charged_gpu_seconds = models.BigIntegerField(_("charged (GPU-seconds)"), default=0)
    by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("by"))
    received_at = models.DateTimeField(_("received at"))
    finished_at = models.DateTimeField(_("finished at"), null=True)
    # The queue: who works on it, until when that is believed, and how far it is.
    claims = models.PositiveIntegerField(_("times taken up"), default=0)
    worker = models.CharField(_("worker"), max_length=100, blank=True)
    lease_until = models.DateTimeField(_("lease until"), null=True, blank=True)
    try_again_at = models.DateTimeField(_("tried again at"), null=True, blank=True)
    phase = models.CharField(_("at work on"), max_length=10, choices=Phase.choices, blank=True)
    read_bytes = models.BigIntegerField(_("read so far (bytes)"), default=0)

    objects = UsageImportQuerySet.as_manager()

    class Meta:
        verbose_name = _("usage import")
        verbose_name_plural = _("usage imports")
        ordering = ("-id",)
        indexes = (
            models.Index(fields=("cluster", "state", "-as_of"), name="import_of_cluster"),
            models.Index(fields=("id",), condition=Q(state__in=("received", "running")), name="import_unfinished"),
            models.Index(fields=("cluster", "sha256"), name="import_by_content"),
        )
        constraints = (
            models.CheckConstraint(
                name="import_state_is_known", condition=Q(state__in=("received", "running", "done", "failed"))
            ),
            models.CheckConstraint(
                name="import_source_is_known", condition=Q(source__in=("command", "collector", "upload", "mended"))
            ),
            models.CheckConstraint(name="import_phase_is_known", condition=Q(phase__in=("", "reading", "merging"))),
            models.CheckConstraint(
                name="import_window_begins_before_it_ends",
                condition=Q(covers_from__isnull=True) | Q(as_of__isnull=True) | Q(covers_from__lte=F("as_of")),
            ),
            models.CheckConstraint(
                name="import_at_work_has_a_lease",
                condition=~Q(state="running") | Q(lease_until__isnull=False, claims__gt=0),
            ),
            models.CheckConstraint(
                name="import_accounts_for_every_record",
                condition=~Q(state="done") | Q(read=F("accepted") + F("unchanged") + F("ignored") + F("quarantined")),
            ),
        )

    def __str__(self) -> str:
        return f"{self.file_name} ({self.pk})"

    @property
    def is_unfinished(self) -> bool:
        return self.state in {self.State.RECEIVED, self.State.RUNNING}

    @property
    def read_percent(self) -> int:
        """How much of the file was read so far, in whole percent."""
        return min(100, self.read_bytes * 100 // self.size_bytes) if self.size_bytes else 0


class QuarantinedRecord(models.Model):
    """A record that could not be read: kept with its line, text and reason until staff mend it or set it aside."""

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        MENDED = "mended", _("Mended")
        SET_ASIDE = "set_aside", _("Set aside")

    usage_import = models.ForeignKey(
        UsageImport, on_delete=models.PROTECT, related_name="quarantine", verbose_name=_("import")
    )
    line = models.BigIntegerField(_("line"))
    text = models.TextField(_("text"))
    reason = models.TextField(_("reason"))
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.WAITING)
    mended_in = models.OneToOneField(
        UsageImport,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="mends",
        verbose_name=_("imported again as"),
    )
    resolved_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("resolved by")
    )
    resolved_at = models.DateTimeField(_("resolved at"), null=True, blank=True)
    resolution = models.TextField(_("resolution"), blank=True)

    class Meta:
        verbose_name = _("quarantined record")
        verbose_name_plural = _("quarantined records")
        ordering = ("-usage_import", "line")
        indexes = (models.Index(fields=("id",), condition=Q(state="waiting"), name="quarantine_waiting"),)
        constraints = (
            models.CheckConstraint(
                name="quarantine_state_is_known", condition=Q(state__in=("waiting", "mended", "set_aside"))
            ),
            models.CheckConstraint(
                name="a_resolved_record_says_by_whom_and_when",
                condition=Q(state="waiting", resolved_by__isnull=True, resolved_at__isnull=True)
                | (~Q(state="waiting") & Q(resolved_by__isnull=False, resolved_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="a_mended_record_names_its_import",
                condition=Q(state="mended", mended_in__isnull=False) | (~Q(state="mended") & Q(mended_in__isnull=True)),
            ),
        )

    def __str__(self) -> str:
        return f"{self.line}"
