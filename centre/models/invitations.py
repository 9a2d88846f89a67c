"""Invitations into a project's team, and the record of letters that were sent."""

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import F, OuterRef, Q, Subquery
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from centre.models.people import User
from centre.models.tenants import Membership, Project, Standing
from centre.names import validate_person_name
from centre.permissions import ProjectRole, may_give_role


class Fate(models.TextChoices):
    """What became of an invitation: whether its link still works, and if not, why."""

    WAITING = "waiting", _("Waiting for an answer")
    ACCEPTED = "accepted", _("Accepted")
    WITHDRAWN = "withdrawn", _("Withdrawn")
    PROJECT_CLOSED = "project_closed", _("The project is closed")
    VOID = "void", _("Does not count any more")
    EXPIRED = "expired", _("The link has run out")


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def waiting(self, *, at: datetime) -> Self:
        """Neither accepted nor withdrawn, and the link still works."""
        return self.unanswered().filter(expires_at__gt=at)

    def unanswered(self) -> Self:
        """Neither accepted nor withdrawn; the link may have run out."""
        return self.filter(accepted_at__isnull=True, withdrawn_at__isnull=True)

    def with_role_of_inviter(self) -> Self:
        """Adds `role_of_inviter`: which role in the team the person who invited has now; None when they left it."""
        current = Membership.objects.current().filter(
            project=OuterRef("project"), user=OuterRef("invited_by"), user__is_active=True
        )
        return self.annotate(role_of_inviter=Subquery(current.values("role")[:1]))


class Invitation(models.Model):
    """Someone was asked by letter to join a project; the link in it is known only to them (stored is its hash).

    Whoever has the link and signs in with, or makes, the account of the address that was invited, becomes a member.
    """

    project = models.ForeignKey(
        Project, on_delete=models.PROTECT, related_name="invitations", verbose_name=_("project")
    )
    email = models.EmailField(_("e-mail address"), max_length=254)
    name = models.CharField(_("name"), max_length=200, blank=True, validators=[validate_person_name])
    language = models.CharField(_("language of the letter"), max_length=10, choices=User.Language.choices)
    role = models.CharField(_("role"), max_length=20, choices=ProjectRole.choices)
    token_hash = models.CharField(_("hash of the link"), max_length=64, unique=True, editable=False)
    invited_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", verbose_name=_("invited by"))
    invited_at = models.DateTimeField(_("invited at"))
    expires_at = models.DateTimeField(_("the link works until"))
    undelivered_at = models.DateTimeField(_("the letter came back at"), null=True, blank=True)
    accepted_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("accepted by")
    )
    accepted_at = models.DateTimeField(_("accepted at"), null=True, blank=True)
    withdrawn_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("withdrawn by")
    )
    withdrawn_at = models.DateTimeField(_("withdrawn at"), null=True, blank=True)

    role_of_inviter: str | None  # added by with_role_of_inviter()

    objects = InvitationQuerySet.as_manager()

    class Meta:
        verbose_name = _("invitation")
        verbose_name_plural = _("invitations")
        ordering = ("-invited_at", "-id")
        constraints = (
            models.UniqueConstraint(
                fields=("project", "email"),
                condition=Q(accepted_at__isnull=True, withdrawn_at__isnull=True),
                name="a_person_is_invited_to_a_project_once_at_a_time",
            ),
            models.CheckConstraint(name="invitation_role_is_known", condition=Q(role__in=ProjectRole.values)),
            models.CheckConstraint(name="invited_address_is_kept_in_lower_case", condition=Q(email=Lower("email"))),
            models.CheckConstraint(
                name="invitation_is_accepted_or_withdrawn_or_neither",
                condition=Q(accepted_at__isnull=True) | Q(withdrawn_at__isnull=True),
            ),
            models.CheckConstraint(
                name="accepted_invitation_says_by_whom",
                condition=Q(accepted_at__isnull=True, accepted_by__isnull=True)
                | Q(accepted_at__isnull=False, accepted_by__isnull=False),
            ),
            models.CheckConstraint(
                name="invitation_expires_after_it_was_sent", condition=Q(expires_at__gt=F("invited_at"))
            ),
        )

    def __str__(self) -> str:
        return self.email

    def fate(self, *, at: datetime) -> Fate:
        """Whether the link works, and if not, why. Of a row from `with_role_of_inviter()`, with its project.

        An invitation is worth what its sender may do: somebody who left the team, or lost the role since, invites
        nobody any more.
        """
        if self.accepted_at is not None:
            return Fate.ACCEPTED
        if self.withdrawn_at is not None:
            return Fate.WITHDRAWN
        if self.project.standing == Standing.CLOSED:
            return Fate.PROJECT_CLOSED
        if not may_give_role(self.role_of_inviter, self.role):
            return Fate.VOID
        return Fate.WAITING if self.expires_at > at else Fate.EXPIRED


class Letter(models.Model):
    """A letter that left for a person: what it was about and when; never its text, which may hold a link."""

    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="letters", verbose_name=_("person"))
    subject = models.CharField(_("subject"), max_length=200)
    sent_at = models.DateTimeField(_("sent at"))

    class Meta:
        verbose_name = _("letter")
        verbose_name_plural = _("letters")
        ordering = ("-sent_at", "-id")
        indexes = (models.Index(fields=("user", "-sent_at"), name="letter_of_person"),)

    def __str__(self) -> str:
        return self.subject
