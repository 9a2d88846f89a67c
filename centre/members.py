"""People, and who belongs to what: add a person, add to a project, change a role, remove, represent a tenant, invite.

The plural verbs do for many rows in a few statements what the singular ones do for one; the singular ones call them.
People are made without a password; `invite` sends the link with which they choose one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.core.exceptions import ValidationError
from django.core.validators import EmailValidator
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from centre import emails
from centre.audit import record, record_all
from centre.models import Cluster, ClusterUser, Membership, Project, Representative, Tenant, User
from centre.models.tenants import Standing
from centre.names import person_name
from centre.permissions import ProjectRole


class MemberError(Exception):
    """Why a person could not be added, changed or removed, as a sentence for a screen."""


class NotAnAddress(MemberError):
    """What was given is no e-mail address."""


class NotAName(MemberError):
    """What was given is no name that a person can be shown by."""


class NotALanguage(MemberError):
    """The portal writes no letters in this language."""


class AlreadyKnown(MemberError):
    """Someone with this e-mail address exists."""


class AccountClosed(MemberError):
    """The person may not sign in any more, and so cannot be added to anything."""


class ProjectClosed(MemberError):
    """The project is over; its team does not change."""


class AlreadyMember(MemberError):
    """The person belongs to the project already."""


class NotAMember(MemberError):
    """The person's membership has ended, or never was."""


class LastLead(MemberError):
    """The project would be left without a lead."""


class NameTaken(MemberError):
    """The user name on the cluster belongs to someone else."""


class AlreadyRepresentative(MemberError):
    """The person represents the tenant already."""


class NotARepresentative(MemberError):
    """The person does not represent the tenant any more."""


@dataclass(frozen=True)
class Person:
    """What is known of someone before they are added. The address is kept in lower case."""

    email: str
    name: str = ""
    language: str = User.Language.ENGLISH


@dataclass(frozen=True)
class Joining:
    """Someone who is to belong to a project."""

    project: Project
    user: User
    role: ProjectRole


@dataclass
class Invited:
    """To whom first-sign-in links went. `undelivered` is filled when the letters are sent, after the commit."""

    people: list[User] = field(default_factory=list)
    undelivered: list[User] = field(default_factory=list)


def email_address(text: str) -> str:
    """The address as it is kept and compared: trimmed, in lower case, the domain in ASCII. Raises NotAnAddress.

    Browsers write the domain in that form too (“例子.公司” as “xn--fsqu00a.xn--55qx5d”), so an address is one and the
    same however it was typed. What stands before the @ cannot be written in other letters: few mail servers take it.
    """
    mailbox, at_sign, domain = text.strip().rpartition("@")
    if at_sign and not mailbox.isascii():
        raise NotAnAddress(
            _(
                "Before the @ of an e-mail address only Latin letters without accents, digits and signs can stand. "
                "Use another address of the person."
            )
        )
    try:
        address = f"{mailbox}{at_sign}{domain if domain.isascii() else domain.encode('idna').decode()}".lower()
        EmailValidator()(address)
    except (UnicodeError, ValidationError):
        raise NotAnAddress(_("“%(text)s” is not an e-mail address.") % {"text": text}) from None
    if len(address) > 254:
        raise NotAnAddress(_("The e-mail address is longer than 254 characters."))
    return address


def name_of_person(text: str) -> str:
    """The name as it is kept; see `centre.names`. Raises NotAName."""
    try:
        return person_name(text)
    except ValidationError as refused:
        raise NotAName(refused.messages[0]) from None


# ---------------------------------------------------------------------------------------------- people


@transaction.atomic
def add_people(*, people: Sequence[Person], by: User | None, at: datetime) -> list[User]:
    """Make these people, none of whom is known yet, without a password. No letter is sent: see `invite`."""
    users = []
    for person in people:
        email, name = email_address(person.email), name_of_person(person.name)
        user = User(email=email, name=name, language=str(person.language), created_at=at)
        user.set_unusable_password()
        user.clean_fields()
        users.append(user)
    try:
        with transaction.atomic():
            User.objects.bulk_create(users, batch_size=1_000)
    except IntegrityError:
        raise AlreadyKnown(_("Someone with this e-mail address is already known.")) from None
    record_all(act="add_person", on=[(user, {"email": user.email, "name": user.name}) for user in users], by=by, at=at)
    return users


def add_person(
    *, email: str, by: User | None, at: datetime, name: str = "", language: str = User.Language.ENGLISH
) -> User:
    """Make one person, without a password. Raises AlreadyKnown, NotAnAddress, NotAName."""
    return add_people(people=[Person(email=email, name=name, language=language)], by=by, at=at)[0]


@transaction.atomic
def rename_people(*, names: Iterable[tuple[User, str]], by: User | None, at: datetime) -> None:
    """Write people's names anew. Raises NotAName."""
    changed = []
    for user, name in names:
        before, user.name = user.name, name_of_person(name)
        user.clean_fields()
        changed.append((user, {"name": [before, user.name]}))
    User.objects.bulk_update([user for user, _changes in changed], ["name"], batch_size=500)
    record_all(act="rename_person", on=changed, by=by, at=at)


@transaction.atomic
def choose_language(*, user: User, language: str, at: datetime) -> None:
    """Say in which language one's own letters are written from now on. Raises NotALanguage."""
    if language not in User.Language:
        raise NotALanguage(_("Choose one of the languages."))
    row = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    before, user.language = row.language, language
    if before == language:
        return
    User.objects.filter(pk=user.pk).update(language=language)
    record(act="choose_language", on=user, by=user, at=at, changes={"language": [before, language]})


# ---------------------------------------------------------------------------------------------- members


@transaction.atomic
def add_members(*, joining: Sequence[Joining], by: User | None, at: datetime) -> list[Membership]:
    """Add people to projects. Raises AccountClosed, ProjectClosed, AlreadyMember; then nobody is added."""
    for each in joining:
        refuse_joining(project=each.project, user=each.user)
    rows = [
        Membership(project=each.project, user=each.user, role=each.role, since_at=at, added_by=by) for each in joining
    ]
    try:
        with transaction.atomic():
            Membership.objects.bulk_create(rows, batch_size=1_000)
    except IntegrityError:
        raise AlreadyMember(_("This person is already a member of the project.")) from None
    record_all(
        act="add_member",
        on=[
            (row, {"project": each.project.code, "person": each.user.email, "role": str(each.role)})
            for row, each in zip(rows, joining, strict=True)
        ],
        by=by,
        at=at,
    )
    return rows


def refuse_joining(*, project: Project, user: User) -> None:
    """Raise AccountClosed or ProjectClosed where this person cannot be added to this project."""
    if not user.is_active:
        raise AccountClosed(
            _("The account of %(person)s is closed. Open it before adding the person to a project.")
            % {"person": user.email}
        )
    if project.standing == Standing.CLOSED:
        raise ProjectClosed(
            _("The project %(project)s is closed; nobody can be added to it.") % {"project": project.code}
        )


def add_member(*, project: Project, user: User, role: ProjectRole, by: User | None, at: datetime) -> Membership:
    """Add one person to a project."""
    return add_members(joining=[Joining(project=project, user=user, role=role)], by=by, at=at)[0]


@transaction.atomic
def change_role(*, membership: Membership, role: ProjectRole, by: User | None, at: datetime) -> Membership:
    """End the membership and begin one with the new role. Raises NotAMember, LastLead."""
    if membership.role == role:
        return membership
    if membership.role == ProjectRole.LEAD:
        _leave_a_lead(membership)
    _end(membership, by=by, at=at)
    begun = Membership.objects.create(
        project_id=membership.project_id, user_id=membership.user_id, role=role, since_at=at, added_by=by
    )
    record(
        act="change_role",
        on=begun,
        by=by,
        at=at,
        changes={
            "project": membership.project.code,
            "person": membership.user.email,
            "role": [membership.role, str(role)],
        },
    )
    return begun


@transaction.atomic
def remove_member(*, membership: Membership, by: User | None, at: datetime) -> Membership:
    """End the membership; the person loses sight of the project at the next request. Raises NotAMember, LastLead."""
    if membership.role == ProjectRole.LEAD:
        _leave_a_lead(membership)
    _end(membership, by=by, at=at)
    record(
        act="remove_member",
        on=membership,
        by=by,
        at=at,
        changes={"project": membership.project.code, "person": membership.user.email, "role": membership.role},
    )
    return membership


def _leave_a_lead(membership: Membership) -> None:
    """Refuse what would leave the project without a lead; the locked project row keeps two such acts apart."""
    project = Project.objects.select_for_update().get(pk=membership.project_id)
    others = Membership.objects.current().filter(project=project, role=ProjectRole.LEAD).exclude(pk=membership.pk)
    if not others.exists():
        raise LastLead(
            _("%(person)s is the only lead of %(project)s. Make someone else the lead first.")
            % {"person": membership.user.email, "project": project.code}
        )


def _end(membership: Membership, *, by: User | None, at: datetime) -> None:
    at = max(at, membership.since_at)  # two acts that began in the other order than they were done in
    ended = Membership.objects.current().filter(pk=membership.pk).update(ended_at=at, ended_by=by)
    if not ended:
        raise NotAMember(_("This person does not belong to the project any more."))
    membership.ended_at, membership.ended_by = at, by


# ---------------------------------------------------------------------------------------------- names on clusters


@transaction.atomic
def add_cluster_users(
    *, names: Sequence[tuple[Cluster, str, User]], by: User | None, at: datetime
) -> list[ClusterUser]:
    """Say whose runs are whose: user names on clusters, each of one person. Raises NameTaken; then none is added."""
    rows = [ClusterUser(cluster=cluster, name=name, user=user) for cluster, name, user in names]
    for row in rows:
        row.clean_fields(exclude={"cluster", "user"})  # each would be asked of the database
    try:
        with transaction.atomic():
            ClusterUser.objects.bulk_create(rows, batch_size=1_000)
    except IntegrityError:
        raise NameTaken(_("This user name on the cluster belongs to someone else.")) from None
    record_all(
        act="add_cluster_user",
        on=[(row, {"cluster": row.cluster.code, "name": row.name, "person": row.user.email}) for row in rows],
        by=by,
        at=at,
    )
    return rows


def add_cluster_user(*, cluster: Cluster, name: str, user: User, by: User | None, at: datetime) -> ClusterUser:
    """Say that a user name on a cluster is this person's."""
    return add_cluster_users(names=[(cluster, name, user)], by=by, at=at)[0]


# ---------------------------------------------------------------------------------------------- representatives


@transaction.atomic
def represent(*, tenant: Tenant, user: User, by: User | None, at: datetime) -> Representative:
    """Make the person a signatory of the tenant. Raises AccountClosed, AlreadyRepresentative."""
    if not user.is_active:
        raise AccountClosed(_("The account of %(person)s is closed.") % {"person": user.email})
    try:
        with transaction.atomic():
            row = Representative.objects.create(tenant=tenant, user=user, since_at=at)
    except IntegrityError:
        raise AlreadyRepresentative(_("This person represents the tenant already.")) from None
    record(act="represent", on=row, by=by, at=at, changes={"tenant": tenant.code, "person": user.email})
    return row


@transaction.atomic
def end_representation(*, representative: Representative, by: User | None, at: datetime) -> Representative:
    """End it; the person loses sight of the tenant's projects at the next request. Raises NotARepresentative."""
    ended = Representative.objects.filter(pk=representative.pk, ended_at__isnull=True).update(ended_at=at)
    if not ended:
        raise NotARepresentative(_("This person does not represent the tenant any more."))
    representative.ended_at = at
    record(
        act="end_representation",
        on=representative,
        by=by,
        at=at,
        changes={"tenant": representative.tenant.code, "person": representative.user.email},
    )
    return representative


# ---------------------------------------------------------------------------------------------- invitations

WITHOUT_PASSWORD = Q(password="") | Q(password__startswith="!")  # noqa: S106  no password, the mark of none
"""People who never chose a password: an unusable one is stored with an exclamation mark in front."""


@transaction.atomic
def invite(*, people: Iterable[User], by: User | None, at: datetime) -> Invited:
    """Send first-sign-in links to those of these people who may sign in and have no password yet, and to no others.

    The letters go when the transaction commits. Whom a letter could not be sent to is as if never invited, and stands
    in the result's `undelivered` from then on.
    """
    wanted = {user.pk for user in people}
    rows = list(User.objects.select_for_update().filter(WITHOUT_PASSWORD, is_active=True, pk__in=wanted))
    User.objects.filter(pk__in=[user.pk for user in rows]).update(invited_at=at)
    record_all(act="invite_person", on=[(user, {"email": user.email}) for user in rows], by=by, at=at)
    invited = Invited(people=rows)
    transaction.on_commit(lambda: _send_invitations(invited, at))
    return invited


def _send_invitations(invited: Invited, at: datetime) -> None:
    invited.undelivered = emails.first_sign_in(people=invited.people, at=at)
    User.objects.filter(pk__in=[user.pk for user in invited.undelivered]).update(invited_at=None)
