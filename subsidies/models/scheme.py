"""The scheme and its fund.

Money is in whole cents of HKD, rates are in basis points (7000 = 70 %). The fund's five totals stand on the scheme's
row; `subsidies.fund` alone moves them, in the transaction that writes the entry which explains the move:

    reserve      reserved + c                     a decision holds the money
    unreserve    reserved - c                     the offer was declined or lapsed
    commit       reserved - c, committed + c      the offer was accepted
    draw         drawn + c                        GPU time was used
    release      released + c                     committed, and will not be drawn
    claw back    clawed_back + c                  drawn, and paid back

What counts against the envelope is reserved + committed - released - clawed_back; a CHECK holds it within.
"""

from datetime import date
from typing import Self

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from centre.models import User
from centre.models.names import TrilingualName


class SchemeQuerySet(models.QuerySet["Scheme"]):
    def running(self, *, on: date) -> Self:
        return self.filter(starts_on__lte=on, ends_on__gte=on)

    def current(self, *, on: date | None = None) -> "Scheme | None":
        """The scheme that runs on that day (default: today); the one begun last if there are several."""
        return self.running(on=on or timezone.localdate()).order_by("-starts_on", "-id").first()


class Scheme(TrilingualName):
    """A subsidy programme: its envelope, its period, its ceilings."""

    code = models.SlugField(_("code"), max_length=40, unique=True)
    envelope_cents = models.BigIntegerField(_("envelope (cents of HKD)"))
    starts_on = models.DateField(_("first day"))
    ends_on = models.DateField(_("last day"))
    ordinary_ceiling_bp = models.IntegerField(
        _("ordinary ceiling (basis points)"),
        default=7000,
        help_text=_("The highest share of the list price in ordinary cases; 7000 is 70 %."),
    )
    exceptional_ceiling_bp = models.IntegerField(
        _("exceptional ceiling (basis points)"),
        default=9000,
        help_text=_("The highest share with recorded exceptional grounds; nothing goes above it."),
    )
    default_rate_bp = models.IntegerField(
        _("usual rate (basis points)"), default=7000, help_text=_("What a new decision begins with.")
    )
    how_to_apply_en = models.TextField(_("how to apply, in English"), blank=True)
    how_to_apply_zh_hant = models.TextField(_("how to apply, in Traditional Chinese"), blank=True)
    how_to_apply_zh_hans = models.TextField(_("how to apply, in Simplified Chinese"), blank=True)
    reserved_cents = models.BigIntegerField(_("reserved"), default=0, editable=False)
    committed_cents = models.BigIntegerField(_("committed"), default=0, editable=False)
    drawn_cents = models.BigIntegerField(_("drawn"), default=0, editable=False)
    released_cents = models.BigIntegerField(_("released"), default=0, editable=False)
    clawed_back_cents = models.BigIntegerField(_("clawed back"), default=0, editable=False)

    objects = SchemeQuerySet.as_manager()

    class Meta:
        verbose_name = _("scheme")
        verbose_name_plural = _("schemes")
        ordering = ("-starts_on",)
        constraints = (
            models.CheckConstraint(
                name="scheme_ends_after_it_starts",
                condition=Q(ends_on__gte=F("starts_on")),
                violation_error_message=_("The last day is before the first."),
            ),
            models.CheckConstraint(
                name="scheme_ceilings_are_ordered",
                condition=Q(
                    default_rate_bp__gt=0,
                    ordinary_ceiling_bp__gte=F("default_rate_bp"),
                    exceptional_ceiling_bp__gte=F("ordinary_ceiling_bp"),
                    exceptional_ceiling_bp__lte=10_000,
                ),
                violation_error_message=_(
                    "The usual rate is above 0 and at most the ordinary ceiling, which is at most the exceptional one, "
                    "which is at most 10000 (100 %)."
                ),
            ),
            models.CheckConstraint(
                name="fund_totals_are_not_negative",
                condition=Q(
                    envelope_cents__gte=0,
                    reserved_cents__gte=0,
                    committed_cents__gte=0,
                    drawn_cents__gte=0,
                    released_cents__gte=0,
                    clawed_back_cents__gte=0,
                ),
            ),
            models.CheckConstraint(
                name="fund_draws_and_releases_what_is_committed",
                condition=Q(committed_cents__gte=F("drawn_cents") + F("released_cents")),
            ),
            models.CheckConstraint(
                name="fund_claws_back_what_was_drawn", condition=Q(clawed_back_cents__lte=F("drawn_cents"))
            ),
            models.CheckConstraint(
                name="fund_stays_within_its_envelope",
                condition=Q(
                    envelope_cents__gte=F("reserved_cents")
                    + F("committed_cents")
                    - F("released_cents")
                    - F("clawed_back_cents")
                ),
                violation_error_message=_("More than this is reserved and committed already."),
            ),
        )

    @property
    def how_to_apply(self) -> str:
        """How to apply, in the language of the page, else the nearest one that exists."""
        english, traditional, simplified = self.how_to_apply_en, self.how_to_apply_zh_hant, self.how_to_apply_zh_hans
        return {
            "zh-hant": traditional or simplified or english,
            "zh-hans": simplified or traditional or english,
        }.get(get_language() or "en", english)

    @property
    def taken_cents(self) -> int:
        """What counts against the envelope."""
        return self.reserved_cents + self.committed_cents - self.released_cents - self.clawed_back_cents

    @property
    def left_cents(self) -> int:
        """What can still be given."""
        return self.envelope_cents - self.taken_cents


class FundEntry(models.Model):
    """One immutable movement of the scheme's money."""

    class Kind(models.TextChoices):
        RESERVE = "reserve", _("Reserve")
        UNRESERVE = "unreserve", _("Unreserve")
        COMMIT = "commit", _("Commit")
        DRAW = "draw", _("Draw")
        RELEASE = "release", _("Release")
        CLAW_BACK = "claw_back", _("Claw back")

    scheme = models.ForeignKey(Scheme, on_delete=models.PROTECT, related_name="entries", verbose_name=_("scheme"))
    application = models.ForeignKey(
        "subsidies.Application", on_delete=models.PROTECT, related_name="fund_entries", verbose_name=_("application")
    )
    award = models.ForeignKey(
        "subsidies.Award",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="fund_entries",
        verbose_name=_("award"),
    )
    kind = models.CharField(_("kind"), max_length=12, choices=Kind.choices)
    cents = models.BigIntegerField(_("cents of HKD"))
    effective_on = models.DateField(_("effective on"))
    recorded_at = models.DateTimeField(_("recorded at"))
    asked_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("asked for by"),
        db_index=False,
    )
    approved_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("approved by"),
        db_index=False,
    )
    key = models.CharField(_("key"), max_length=120, unique=True)
    reason = models.CharField(_("reason"), max_length=500, blank=True)

    class Meta:
        verbose_name = _("fund entry")
        verbose_name_plural = _("fund entries")
        ordering = ("-id",)
        # Written once: see centre/triggers.py.
        constraints = (
            models.CheckConstraint(
                name="fund_entry_kind_is_known",
                condition=Q(kind__in=("reserve", "unreserve", "commit", "draw", "release", "claw_back")),
            ),
            models.CheckConstraint(name="fund_entry_moves_a_positive_amount", condition=Q(cents__gt=0)),
            models.CheckConstraint(
                name="only_reserved_money_has_no_award_yet",
                condition=Q(kind__in=("reserve", "unreserve")) | Q(award__isnull=False),
            ),
            models.CheckConstraint(
                name="two_people_stand_behind_a_fund_entry",
                condition=Q(kind__in=("unreserve", "draw"))
                | (Q(asked_by__isnull=False, approved_by__isnull=False) & ~Q(asked_by=F("approved_by"))),
                violation_error_message=_("One person asks for it, another approves it."),
            ),
        )

    def __str__(self) -> str:
        return str(self.get_kind_display())
