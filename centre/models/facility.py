"""The centre and its machines: sites, clusters, GPU pools, what is in service when, and what it costs."""

from typing import TYPE_CHECKING, Self
from zoneinfo import ZoneInfo, available_timezones

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import cached_property
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext_lazy as _

from centre.models.names import TrilingualName

if TYPE_CHECKING:
    from datetime import date

MACHINE_CODE = RegexValidator(
    r"^[A-Za-z0-9][A-Za-z0-9_.-]*\Z",
    _("Use letters, digits, dots, hyphens and underscores; begin with a letter or digit."),
)


REGIONS = frozenset(
    ("Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific")
)


def validate_time_zone(name: str) -> None:
    """A region and city, or UTC: what every machine reads alike. `localtime` is another zone on another machine."""
    is_known = name in available_timezones() and (name == "UTC" or name.partition("/")[0] in REGIONS)
    if not is_known:
        raise ValidationError(
            _("“%(name)s” is not the name of a time zone, such as Asia/Hong_Kong."), params={"name": name}
        )


class WhenUsedUp(models.TextChoices):
    """What the scheduler does with new jobs of an allocation that has nothing left."""

    OPEN = "open", _("They start as before")
    SLOWED = "slowed", _("They start when nobody else waits")
    BLOCKED = "blocked", _("They do not start")


class Centre(TrilingualName):
    """The one row that says who the centre is, and the rules that it set itself."""

    introduction_en = models.TextField(_("introduction in English"), blank=True)
    introduction_zh_hant = models.TextField(_("introduction in Traditional Chinese"), blank=True)
    introduction_zh_hans = models.TextField(_("introduction in Simplified Chinese"), blank=True)
    contact_email = models.EmailField(_("contact address"), blank=True)
    two_person_above_seconds = models.BigIntegerField(
        _("two people above (GPU-seconds)"),
        default=0,
        help_text=_("Giving or taking more GPU time than this needs a second person. 0: always."),
    )
    requests_lapse_after_days = models.PositiveIntegerField(
        _("requests lapse after (days)"),
        default=30,
        help_text=_("A transfer that nobody answers lets its GPU-hours go after so many days."),
    )
    when_used_up = models.CharField(
        _("when the hours are used up"),
        max_length=10,
        choices=WhenUsedUp.choices,
        default=WhenUsedUp.SLOWED,
        help_text=_(
            "What becomes of new jobs of a team that has nothing left. Teams read it, and manage.py scheduler_states "
            "tells it to whoever sets the scheduler."
        ),
    )
    is_demo = models.BooleanField(_("shows invented data"), default=False, editable=False)

    class Meta:
        verbose_name = _("centre")
        verbose_name_plural = _("centre")
        constraints = (
            models.CheckConstraint(name="there_is_one_centre", condition=Q(id=1)),
            models.CheckConstraint(
                name="two_person_threshold_is_not_negative", condition=Q(two_person_above_seconds__gte=0)
            ),
            models.CheckConstraint(
                name="what_happens_when_hours_are_used_up_is_known",
                condition=Q(when_used_up__in=("open", "slowed", "blocked")),
            ),
        )

    @property
    def introduction(self) -> str:
        """How the centre introduces itself, in the language of the page, else the nearest one that exists."""
        english, traditional, simplified = self.introduction_en, self.introduction_zh_hant, self.introduction_zh_hans
        return {
            "zh-hant": traditional or simplified or english,
            "zh-hans": simplified or traditional or english,
        }.get(get_language() or "en", english)


class Site(TrilingualName):
    """A place with machines, in service or planned."""

    code = models.CharField(_("code"), max_length=40, unique=True, validators=[MACHINE_CODE])

    class Meta:
        verbose_name = _("site")
        verbose_name_plural = _("sites")
        ordering = ("code",)


class Cluster(models.Model):
    """A Slurm cluster; its accounting days are those of its own time zone."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="clusters", verbose_name=_("site"))
    code = models.CharField(
        _("code"),
        max_length=40,
        unique=True,
        validators=[MACHINE_CODE],
        help_text=_("The cluster's name as Slurm knows it (ClusterName)."),
    )
    time_zone = models.CharField(
        _("time zone"), max_length=60, default="Asia/Hong_Kong", validators=[validate_time_zone]
    )

    class Meta:
        verbose_name = _("cluster")
        verbose_name_plural = _("clusters")
        ordering = ("code",)

    def __str__(self) -> str:
        return self.code

    @cached_property
    def zone(self) -> ZoneInfo:
        """The zone whose midnights part the accounting days."""
        return ZoneInfo(self.time_zone)


class GpuPool(models.Model):
    """The GPUs of one model and partition on a cluster; what allocations are given on."""

    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="pools", verbose_name=_("cluster"))
    code = models.CharField(_("code"), max_length=40, unique=True, validators=[MACHINE_CODE])
    gpu_model = models.CharField(_("GPU model"), max_length=80)

    class Meta:
        verbose_name = _("GPU pool")
        verbose_name_plural = _("GPU pools")
        ordering = ("code",)

    def __str__(self) -> str:
        return f"{self.gpu_model} ({self.code})"


class PoolMapping(models.Model):
    """Which GPUs of a run belong to which pool: by their typed name, or by the partition for those without a type."""

    class Kind(models.TextChoices):
        TRES = "tres", _("typed GPUs (TRES)")
        PARTITION = "partition", _("partition")

    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="+", verbose_name=_("cluster"))
    pool = models.ForeignKey(GpuPool, on_delete=models.PROTECT, related_name="mappings", verbose_name=_("GPU pool"))
    kind = models.CharField(_("what is named"), max_length=10, choices=Kind.choices)
    name = models.CharField(
        _("name"), max_length=128, help_text=_("Such as gres/gpu:h800, or the name of a partition.")
    )
    from_on = models.DateField(_("from"))
    until_on = models.DateField(_("until"), null=True, blank=True, help_text=_("The last day; empty while it is open."))

    class Meta:
        verbose_name = _("pool mapping")
        verbose_name_plural = _("pool mappings")
        ordering = ("cluster", "kind", "name", "from_on")
        # One pool per name and day: the rule pool_mapping_is_unambiguous in centre/triggers.py.
        constraints = (
            models.CheckConstraint(
                name="pool_mapping_ends_after_it_starts",
                condition=Q(until_on__isnull=True) | Q(until_on__gte=F("from_on")),
            ),
            models.CheckConstraint(name="pool_mapping_kind_is_known", condition=Q(kind__in=("tres", "partition"))),
        )

    def __str__(self) -> str:
        return self.name


class Capacity(models.Model):
    """How many GPUs of a pool are in service from a day on, until the next row of the pool says otherwise."""

    pool = models.ForeignKey(GpuPool, on_delete=models.PROTECT, related_name="capacities", verbose_name=_("GPU pool"))
    from_on = models.DateField(_("from"))
    gpus = models.PositiveIntegerField(_("GPUs in service"))
    note = models.CharField(_("note"), max_length=300, blank=True)

    class Meta:
        verbose_name = _("capacity")
        verbose_name_plural = _("capacity")
        ordering = ("pool", "from_on")
        constraints = (
            models.UniqueConstraint(
                fields=("pool", "from_on"),
                name="capacity_of_a_pool_changes_once_a_day",
                violation_error_message=_("This pool's capacity already changes on that day."),
            ),
        )

    def __str__(self) -> str:
        said = {"gpus": self.gpus, "day": date_format(self.from_on)}
        return ngettext("%(gpus)s GPU from %(day)s", "%(gpus)s GPUs from %(day)s", self.gpus) % said


class Outage(models.Model):
    """GPUs of a pool that were, or will be, out of service between two instants."""

    pool = models.ForeignKey(GpuPool, on_delete=models.PROTECT, related_name="outages", verbose_name=_("GPU pool"))
    gpus = models.PositiveIntegerField(_("GPUs out of service"))
    starts_at = models.DateTimeField(_("starts at"))
    ends_at = models.DateTimeField(_("ends at"))
    reason = models.CharField(_("reason"), max_length=300)

    class Meta:
        verbose_name = _("outage")
        verbose_name_plural = _("outages")
        ordering = ("-starts_at",)
        constraints = (
            models.CheckConstraint(
                name="outage_ends_after_it_starts",
                condition=Q(ends_at__gt=F("starts_at")),
                violation_error_message=_("The outage ends before it starts."),
            ),
        )

    def __str__(self) -> str:
        return self.reason


class ListPriceQuerySet(models.QuerySet["ListPrice"]):
    def on(self, day: "date") -> Self:
        """The price rows in force by that day, newest first; the first of each pool counts."""
        return self.filter(from_on__lte=day).order_by("pool", "-from_on")


class ListPrice(models.Model):
    """What a GPU-hour of a pool costs from a day on. Superseded by a later row, never edited."""

    pool = models.ForeignKey(GpuPool, on_delete=models.PROTECT, related_name="prices", verbose_name=_("GPU pool"))
    from_on = models.DateField(_("from"))
    cents_per_gpu_hour = models.PositiveBigIntegerField(_("cents of HKD per GPU-hour"))
    recorded_at = models.DateTimeField(_("recorded at"), default=timezone.now, editable=False)

    objects = ListPriceQuerySet.as_manager()

    class Meta:
        verbose_name = _("list price")
        verbose_name_plural = _("list prices")
        ordering = ("pool", "from_on")
        constraints = (
            models.UniqueConstraint(
                fields=("pool", "from_on"),
                name="list_price_of_a_pool_changes_once_a_day",
                violation_error_message=_("This pool already has a price from that day."),
            ),
        )

    def __str__(self) -> str:
        dollars, cents = divmod(self.cents_per_gpu_hour, 100)
        return f"HK${dollars}.{cents:02} ({self.from_on})"
