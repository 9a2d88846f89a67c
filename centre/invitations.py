"""Invitations into a project's team: invite, send the link again, withdraw, accept.

A lead or manager invites an e-mail address; whoever has the link that was sent there proves to own it, and joins with
the account of that address, or makes it. Of the link only a hash is kept. It works once, for INVITATION_DAYS, and only
as long as its sender may still invite. Everything that touches a project's invitations locks the project first.
"""

from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from secrets import token_urlsafe

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from centre import emails, members
from centre.audit import record
from centre.members import AccountClosed, AlreadyMember, MemberError, email_address, name_of_person, refuse_joining
from centre.models import Event, Invitation, Membership, Project, User
from centre.models.invitations import Fate
from centre.permissions import ProjectRole, may_give_role

MOST_UNANSWERED = 20
"""Invitations of one project that wait for an answer, or have run out and were not withdrawn."""
MOST_LETTERS_A_DAY = 50
"""Letters of invitation that one person may cause within 24 hours, whatever the projects."""
SENDS = ("invite_to_project", "send_invitation_again")


class AlreadyInvited(MemberError):
    """An invitation to this address waits already."""


class MayNotInvite(MemberError):
    """The person may not give this role in the team."""


class TooManyInvitations(MemberError):
    """The project or the person sends too many."""


class NoLongerOpen(MemberError):
    """The invitation was accepted or withdrawn, or its link does not work any more; `fate` says which."""

    def __init__(self, fate: Fate) -> None:
        super().__init__(_("This invitation does not wait for an answer any more: %(fate)s.") % {"fate": fate.label})
        self.fate = fate


class SentMeanwhile(MemberError):
    """The link was sent anew since the page was read: by a second click, or by somebody else."""


class NotInvited(MemberError):
    """The invitation is for another address."""


class HasPassword(MemberError):
    """The invited address has an account; its owner signs in instead of making one."""


# ---------------------------------------------------------------------------------------------- sending


@transaction.atomic
def invite_to_project(
    *,
    project: Project,
    email: str,
    role: ProjectRole,
    by: User,
    at: datetime,
    name: str = "",
    language: str = User.Language.ENGLISH,
) -> Invitation:
    """Invite an address; the letter goes when the transaction commits, and `undelivered_at` then says if it failed.

    Raises NotAnAddress, NotAName, ProjectClosed, MayNotInvite, AlreadyMember, AlreadyInvited, TooManyInvitations.
    Whether the address has an account is not told: an account that is closed is refused when the link is opened.
    """
    address, name = email_address(email), name_of_person(name)
    project = lock(project.pk)
    if project.standing == "closed":
        raise members.ProjectClosed(
            _("The project %(project)s is closed; nobody can be added to it.") % {"project": project.code}
        )
    refuse_sending(project=project, role=role, by=by)
    if Membership.objects.current().filter(project=project, user__email=address).exists():
        raise AlreadyMember(_("%(email)s belongs to the project already.") % {"email": address})
    unanswered = Invitation.objects.unanswered().filter(project=project)
    if unanswered.filter(email=address).exists():
        raise AlreadyInvited(
            _("%(email)s was invited already. Send the link again, or withdraw the invitation first.")
            % {"email": address}
        )
    if unanswered.count() >= MOST_UNANSWERED:
        raise TooManyInvitations(
            _("%(most)s invitations of this project wait for an answer. Withdraw one that is no longer needed first.")
            % {"most": MOST_UNANSWERED}
        )
    refuse_too_many_letters(by=by, at=at)
    token = token_urlsafe(32)
    invitation = Invitation(
        project=project,
        email=address,
        name=name,
        language=language,
        role=role,
        token_hash=hash_of(token),
        invited_by=by,
        invited_at=at,
        expires_at=at + timedelta(days=settings.INVITATION_DAYS),
    )
    invitation.clean_fields(exclude={"project", "invited_by", "accepted_by", "withdrawn_by"})
    invitation.save(force_insert=True)
    told(invitation, act="invite_to_project", by=by, at=at)
    transaction.on_commit(partial(send, invitation, token, at))
    return invitation


@transaction.atomic
def send_again(*, invitation: Invitation, seen: datetime, by: User, at: datetime) -> Invitation:
    """Send a new link, which works from now on for INVITATION_DAYS; the old one is dead. The sender stands behind it.

    `seen` is when it was last sent as far as the person saw: a second click sends nothing. Raises NoLongerOpen,
    SentMeanwhile, MayNotInvite, TooManyInvitations.
    """
    row = locked(invitation)
    fate = row.fate(at=at)
    if fate not in (Fate.WAITING, Fate.EXPIRED, Fate.VOID):
        raise NoLongerOpen(fate)
    if row.invited_at != seen:
        raise SentMeanwhile(_("A new link was sent to %(email)s a moment ago.") % {"email": row.email})
    refuse_sending(project=row.project, role=ProjectRole(row.role), by=by)
    refuse_too_many_letters(by=by, at=at)
    token = token_urlsafe(32)
    row.token_hash, row.undelivered_at = hash_of(token), None
    row.invited_by, row.invited_at = by, at
    row.expires_at = at + timedelta(days=settings.INVITATION_DAYS)
    row.save(update_fields=["token_hash", "undelivered_at", "invited_by", "invited_at", "expires_at"])
    told(row, act="send_invitation_again", by=by, at=at)
    transaction.on_commit(partial(send, row, token, at))
    return row


@transaction.atomic
def withdraw(*, invitation: Invitation, by: User, at: datetime) -> Invitation:
    """Take an unanswered invitation back; its link is dead from now on. Raises NoLongerOpen, MayNotInvite."""
    row = locked(invitation)
    if row.accepted_at is not None or row.withdrawn_at is not None:
        raise NoLongerOpen(row.fate(at=at))
    refuse_sending(project=row.project, role=ProjectRole(row.role), by=by)
    row.withdrawn_by, row.withdrawn_at = by, at
    row.save(update_fields=["withdrawn_by", "withdrawn_at"])
    told(row, act="withdraw_invitation", by=by, at=at)
    return row


def refuse_sending(*, project: Project, role: ProjectRole, by: User) -> None:
    """Raise MayNotInvite unless this person's role in the team, now, lets them give that one."""
    own = Membership.objects.current().filter(project=project, user=by).values_list("role", flat=True).first()
    if may_give_role(own, role):
        return
    if role == ProjectRole.LEAD and may_give_role(own, ProjectRole.MEMBER):
        raise MayNotInvite(_("Only a lead of the project can make somebody a lead."))
    raise MayNotInvite(_("Only leads and managers of the project can invite people to it."))


def refuse_too_many_letters(*, by: User, at: datetime) -> None:
    """Raise TooManyInvitations where this person caused too many letters today; the locked row keeps two apart."""
    User.objects.select_for_update(no_key=True).get(pk=by.pk)
    sent = Event.objects.filter(actor=by, act__in=SENDS, at__gt=at - timedelta(days=1)).count()
    if sent >= MOST_LETTERS_A_DAY:
        raise TooManyInvitations(
            _("You have sent %(most)s invitations within 24 hours, and cannot send more before tomorrow.")
            % {"most": MOST_LETTERS_A_DAY}
        )


def send(invitation: Invitation, token: str, at: datetime) -> None:
    """Send the letter, after the commit; a letter that could not be sent is noted on the invitation."""
    if emails.invitation_to_project(invitation=invitation, token=token, at=at):
        return
    Invitation.objects.filter(pk=invitation.pk, token_hash=hash_of(token)).update(undelivered_at=at)
    invitation.undelivered_at = at


def told(invitation: Invitation, *, act: str, by: User, at: datetime) -> None:
    """Into the audit trail; never the link."""
    changes = {"project": invitation.project.code, "person": invitation.email, "role": invitation.role}
    record(act=act, on=invitation, by=by, at=at, changes=changes)


# ---------------------------------------------------------------------------------------------- answering


def hash_of(token: str) -> str:
    """What is kept of a link."""
    return sha256(token.encode()).hexdigest()


def find(token: str) -> Invitation | None:
    """The invitation whose latest link this is; looked up by its hash, so that no time tells of a near miss."""
    rows = Invitation.objects.with_role_of_inviter().select_related("project__tenant", "invited_by")
    return rows.filter(token_hash=hash_of(token)).first()


@transaction.atomic
def accept(*, invitation: Invitation, user: User, at: datetime) -> Membership:
    """The person whose address was invited joins. Raises NotInvited, NoLongerOpen, AccountClosed, AlreadyMember."""
    row = locked(invitation)
    refuse_link(row, sent=invitation.token_hash, at=at)
    if user.email != row.email:
        raise NotInvited(_("This invitation was sent to another e-mail address."))
    refuse_joining(project=row.project, user=user)
    try:
        with transaction.atomic():
            membership = Membership.objects.create(
                project=row.project, user=user, role=row.role, since_at=at, added_by=row.invited_by
            )
    except IntegrityError:
        raise AlreadyMember(_("You belong to this project already.")) from None
    row.accepted_by, row.accepted_at = user, at
    row.save(update_fields=["accepted_by", "accepted_at"])
    changes = {"project": row.project.code, "person": row.email, "role": row.role, "invited_by": row.invited_by.email}
    record(act="accept_invitation", on=membership, by=user, at=at, changes=changes)
    return membership


def accept_as_newcomer(*, invitation: Invitation, name: str, password: str, at: datetime) -> Membership:
    """Give the invited address its account, or the password that it never had, and join; `user` is on the result.

    The password is validated by the form. Raises NotAName, HasPassword, NoLongerOpen, AccountClosed.
    """
    name = name_of_person(name)
    encoded = make_password(password)  # takes its time, so before anything is locked
    with transaction.atomic():
        row = locked(invitation)
        refuse_link(row, sent=invitation.token_hash, at=at)
        user = User.objects.filter(email=row.email).first()
        if user is None:
            user = members.add_person(email=row.email, name=name, language=row.language, by=row.invited_by, at=at)
        elif not user.is_active:
            raise AccountClosed(_("The account of this e-mail address is closed."))
        elif not lacks_password(user):
            raise HasPassword(_("This e-mail address has an account. Sign in to join."))
        elif name != user.name:
            members.rename_people(names=[(user, name)], by=user, at=at)
        user.password = encoded
        user.save(update_fields=["password"])
        return accept(invitation=invitation, user=user, at=at)


def lacks_password(user: User) -> bool:
    """Whether the person was added and never chose a password; see `members.WITHOUT_PASSWORD`."""
    return not user.password or not user.has_usable_password()


def refuse_link(row: Invitation, *, sent: str, at: datetime) -> None:
    """Raise NoLongerOpen unless the link that was opened, by its hash, is the one that works now."""
    fate = row.fate(at=at)
    if fate == Fate.WAITING and row.token_hash != sent:
        fate = Fate.EXPIRED
    if fate != Fate.WAITING:
        raise NoLongerOpen(fate)


def lock(project: int) -> Project:
    """The project, until the transaction ends only ours to change the team of."""
    return Project.objects.select_for_update(no_key=True).get(pk=project)


def locked(invitation: Invitation) -> Invitation:
    """The invitation as it is now, under its project's lock."""
    lock(invitation.project_id)
    rows = Invitation.objects.with_role_of_inviter().select_related("project", "invited_by")
    return rows.get(pk=invitation.pk)
