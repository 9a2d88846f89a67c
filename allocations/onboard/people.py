"""members.csv: who belongs to which project, in which role, and under which names they run jobs on the clusters.

People are made without a password; `manage.py invite_members` sends them the link to choose one.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Final

from django.utils import timezone
from django.utils.translation import gettext as _

from allocations.onboard.call import Call, Change, Outcome
from allocations.onboard.lines import BadLine, Line
from centre import members
from centre.models import Appointment, Cluster, ClusterUser, Membership, Project, User
from centre.permissions import ProjectRole

NEEDED: Final = ("project", "email", "name", "role")
OPTIONAL: Final = ("cluster_users",)


class Crowd:
    """The people whom a file names: said what they are called once, made where they are not known.

    First every line's person is `want`ed and all are loaded; then good lines `note` whom they need; then it is done.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._said: dict[str, tuple[str, int]] = {}
        self._emails: dict[str, None] = {}
        self._users: dict[str, User] = {}
        self._staff: set[str] = set()
        self._needed: dict[str, None] = {}
        self._called: list[tuple[Line, str, str]] = []

    def want(self, line: Line, *, column: str = "email", name: str = "") -> str:
        """Note the line's person; returns the address. Raises BadLine when an earlier line gives another name."""
        email = members.email_address(line.text(column, most=400))
        if name:
            said, number = self._said.setdefault(email, (name, line.number))
            if said != name:
                raise BadLine(
                    _("Line %(line)s calls %(email)s “%(name)s”. Write one name in both.")
                    % {"line": number, "email": email, "name": said}
                )
        self._emails[email] = None
        return email

    def load(self) -> None:
        """Ask the database once who is known."""
        for chunk in _chunks(self._emails):
            self._users.update((user.email, user) for user in User.objects.filter(email__in=chunk))
        if self._call.by is not None:  # the operator may
            today = timezone.localdate(self._call.at)
            self._staff.update(Appointment.objects.in_force(on=today).values_list("user__email", flat=True))

    def renaming(self, email: str, name: str) -> list[Change]:
        """How the person's name would change. Raises BadLine for centre staff, whom others do not rename."""
        user = self._users.get(email)
        if user is None or not name or user.name == name:
            return []
        if email in self._staff:
            raise BadLine(
                _("%(email)s is centre staff; an administrator changes the name. Write “%(name)s”, or leave it empty.")
                % {"email": email, "name": user.name}
            )
        return [Change("name", user.name, name)]

    def note(self, line: Line, email: str, name: str = "") -> None:
        """The line can be taken, and needs the person."""
        self._needed[email] = None
        if name:
            self._called.append((line, email, name))

    def make(self) -> None:
        """Make those who are needed and not known."""
        names = {email: name for _line, email, name in reversed(self._called)}
        made = members.add_people(
            people=[
                members.Person(email=email, name=names.get(email, ""))
                for email in self._needed
                if email not in self._users
            ],
            by=self._call.by,
            at=self._call.at,
        )
        self._users.update((user.email, user) for user in made)

    def rename(self) -> None:
        """Write changed names anew, of the lines that were not refused meanwhile."""
        names = {email: name for line, email, name in self._called if not self._call.is_refused(line)}
        changed = [(self._users[email], name) for email, name in names.items() if self._users[email].name != name]
        members.rename_people(names=changed, by=self._call.by, at=self._call.at)

    def person(self, email: str) -> User:
        """The person, who is made only later where nobody is known by the address."""
        return self._users.get(email) or User(email=email)


class Teams:
    """Who belongs to what now, and who joins: memberships are made in one go, roles that change one by one."""

    def __init__(self, call: Call, crowd: Crowd) -> None:
        self._call, self._crowd = call, crowd
        current = Membership.objects.current()
        self._roles = {
            (project, email): (pk, role)
            for pk, project, email, role in current.values_list("pk", "project", "user__email", "role")
        }
        self._joining: list[tuple[Project, str, ProjectRole]] = []
        self._changing: list[tuple[Line, int, ProjectRole]] = []

    def would_be(self, project: Project, email: str, role: ProjectRole) -> tuple[Outcome, list[Change]]:
        """What comes of it when the person has the role. Raises MemberError where they cannot be added."""
        _pk, standing = self._roles.get((project.pk, email), (0, ""))
        if standing == role:
            return Outcome.SAME, []
        if standing:
            return Outcome.CHANGED, [Change("role", standing, role)]
        members.refuse_joining(project=project, user=self._crowd.person(email))
        return Outcome.NEW, []

    def note(self, line: Line, project: Project, email: str, role: ProjectRole) -> None:
        """The line can be taken: let the person have the role."""
        pk, standing = self._roles.get((project.pk, email), (0, ""))
        if not pk:
            self._joining.append((project, email, role))
        elif standing != role:
            self._changing.append((line, pk, role))

    def settle(self) -> None:
        """Do it: new members and new leads first, so that no project is without a lead on the way."""
        call = self._call
        members.add_members(
            joining=[
                members.Joining(project=project, user=self._crowd.person(email), role=role)
                for project, email, role in self._joining
            ],
            by=call.by,
            at=call.at,
        )
        rows = Membership.objects.select_related("project", "user").in_bulk([pk for _line, pk, _role in self._changing])
        for line, pk, role in sorted(self._changing, key=lambda each: each[2] != ProjectRole.LEAD):
            with call.line(line):
                members.change_role(membership=rows[pk], role=role, by=call.by, at=call.at)


class ClusterNames:
    """User names on the clusters: whose they are, and which ones are new."""

    def __init__(self, call: Call, crowd: Crowd) -> None:
        self._call, self._crowd = call, crowd
        self._clusters = {row.code: row for row in Cluster.objects.all()}
        rows = ClusterUser.objects.values_list("cluster", "name", "user__email")
        self._owner = {(cluster, name): email for cluster, name, email in rows}
        self._new: list[tuple[Line, Cluster, str, str]] = []

    def wanted(self, line: Line, email: str) -> list[tuple[Cluster, str]]:
        """The line's names that are not the person's yet: `name` on every cluster, or `cluster:name` on one.

        Raises BadLine when one belongs to someone else.
        """
        new = []
        for cluster, name in dict.fromkeys(pair for word in line.words("cluster_users") for pair in self._meant(word)):
            owner = self._owner.get((cluster.pk, name))
            if owner is None:
                new.append((cluster, name))
            elif owner != email:
                raise BadLine(
                    _(
                        "The user name “%(name)s” on %(cluster)s belongs to %(owner)s. "
                        "Write cluster:name to give a name on one cluster only."
                    )
                    % {"name": name, "cluster": cluster.code, "owner": owner}
                )
        return new

    def note(self, line: Line, names: list[tuple[Cluster, str]], email: str) -> None:
        """The line can be taken: the names become the person's."""
        for cluster, name in names:
            self._owner[cluster.pk, name] = email
            self._new.append((line, cluster, name, email))

    def settle(self) -> None:
        members.add_cluster_users(
            names=[
                (cluster, name, self._crowd.person(email))
                for line, cluster, name, email in self._new
                if not self._call.is_refused(line)
            ],
            by=self._call.by,
            at=self._call.at,
        )

    def _meant(self, word: str) -> list[tuple[Cluster, str]]:
        code, colon, name = word.rpartition(":")
        if not name or len(name) > 128:
            raise BadLine(_("“%(word)s” is not a user name on a cluster.") % {"word": word})
        if not colon:
            if not self._clusters:
                raise self._call.missing(
                    "cluster", "", _("There is no cluster yet to have user names on; bring in pools first.")
                )
            return [(cluster, name) for cluster in self._clusters.values()]
        if code not in self._clusters:
            raise self._call.missing("cluster", code, _("There is no cluster “%(code)s”.") % {"code": code})
        return [(self._clusters[code], name)]


def take_members(lines: list[Line], call: Call) -> None:
    """Let every line's person have the role in the project, make who is not known, and note their user names."""
    projects = {row.code: row for row in Project.objects.all()}
    crowd = Crowd(call)
    kept: list[tuple[Line, str, str]] = []
    first: dict[tuple[str, str], Line] = {}
    for line in call.sound(lines):
        with call.line(line):
            name = members.name_of_person(line.text("name", most=200, needed=False))
            email = crowd.want(line, name=name)
            earlier = first.setdefault((line.cells["project"], email), line)
            if earlier is not line:
                raise BadLine(
                    _("Line %(line)s already has %(email)s in %(project)s.")
                    % {"line": earlier.number, "email": email, "project": line.cells["project"]}
                )
            kept.append((line, email, name))
    crowd.load()
    teams, names = Teams(call, crowd), ClusterNames(call, crowd)
    for line, email, name in kept:
        with call.line(line):
            code = line.text("project", most=40)
            role = _role(line, email, call)
            project = projects.get(code)
            if project is None:
                raise call.missing("project", code, _("There is no project “%(code)s”.") % {"code": code})
            new_names = names.wanted(line, email)
            outcome, changes = teams.would_be(project, email, role)
            if outcome == Outcome.NEW:
                changes = [Change("role", "", role)]
            changes += crowd.renaming(email, name)
            changes += [Change("cluster_users", "", f"{cluster.code}:{user_name}") for cluster, user_name in new_names]
            if changes and outcome == Outcome.SAME:
                outcome = Outcome.CHANGED
            crowd.note(line, email, name)
            teams.note(line, project, email, role)
            names.note(line, new_names, email)
            call.tell(line, outcome, changes)
    crowd.make()
    teams.settle()
    crowd.rename()
    names.settle()


def _role(line: Line, email: str, call: Call) -> ProjectRole:
    text = line.text("role", most=40).lower()
    if text not in ProjectRole.values:
        raise BadLine(
            _("role “%(text)s” is unknown; it is one of: %(known)s.")
            % {"text": text, "known": ", ".join(ProjectRole.values)}
        )
    lead = call.leads.get((line.cells["project"], email))
    if lead is not None and text != ProjectRole.LEAD:
        raise BadLine(
            _("%(email)s is this project's lead in %(file)s line %(line)s; the role here has to be lead.")
            % {"email": email, "file": lead.file, "line": lead.number}
        )
    return ProjectRole(text)


def _chunks(emails: dict[str, None], size: int = 5_000) -> Iterator[list[str]]:
    rest = iter(emails)
    while chunk := list(islice(rest, size)):
        yield chunk
