"""members.csv: who belongs to which project, in which role, and under which names they run jobs on the clusters.

People are made without a password; `manage.py invite_members` sends them the link to choose one.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Final

from django.utils.translation import gettext as _

from allocations.onboard.call import Call, Count, Outcome
from allocations.onboard.lines import BadLine, Line
from centre import members
from centre.models import Cluster, ClusterUser, Membership, Project, User
from centre.permissions import ProjectRole

NEEDED: Final = ("project", "email", "name", "role")
OPTIONAL: Final = ("cluster_users",)


class Crowd:
    """The people whom a file names: said what they are called once, made where they are not known."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._names: dict[str, tuple[str, int]] = {}
        self._emails: dict[str, None] = {}
        self._users: dict[str, User] = {}
        self._made: set[str] = set()

    def want(self, line: Line, *, column: str = "email", name: str = "") -> str:
        """Note the line's person; returns the address. Raises BadLine when an earlier line gives another name."""
        email = members.email_address(line.text(column, most=400))
        if name:
            said, number = self._names.setdefault(email, (name, line.number))
            if said != name:
                raise BadLine(
                    _("Line %(line)s calls %(email)s “%(name)s”. Write one name in both.")
                    % {"line": number, "email": email, "name": said}
                )
        self._emails[email] = None
        return email

    def gather(self) -> set[str]:
        """Load who is known, make who is not, and write changed names anew; returns the addresses of the renamed."""
        for chunk in _chunks(self._emails):
            self._users.update((user.email, user) for user in User.objects.filter(email__in=chunk))
        unknown = [email for email in self._emails if email not in self._users]
        made = members.add_people(
            people=[members.Person(email=email, name=self._names.get(email, ("", 0))[0]) for email in unknown],
            by=self._call.by,
            at=self._call.at,
        )
        self._users.update((user.email, user) for user in made)
        renamed = [
            (self._users[email], name)
            for email, (name, _line) in self._names.items()
            if email in self._users and self._users[email].name != name
        ]
        members.rename_people(names=renamed, by=self._call.by, at=self._call.at)
        return {user.email for user, _name in renamed}

    def person(self, email: str) -> User:
        return self._users[email]


class Teams:
    """Who belongs to what now, and who joins: memberships are made in one go, roles that change one by one."""

    def __init__(self) -> None:
        current = Membership.objects.current()
        self._roles = {
            (project, user): (pk, role)
            for pk, project, user, role in current.values_list("pk", "project", "user", "role")
        }
        self._joining: list[members.Joining] = []
        self._changing: list[tuple[Line, int, ProjectRole]] = []

    def give(self, project: Project, user: User, role: ProjectRole, line: Line) -> Outcome:
        """Let the person have the role. Raises MemberError where they cannot be added."""
        pk, standing = self._roles.get((project.pk, user.pk), (0, ""))
        if standing == role:
            return Outcome.SAME
        if pk:
            self._changing.append((line, pk, role))
            return Outcome.CHANGED
        members.refuse_joining(project=project, user=user)
        self._joining.append(members.Joining(project=project, user=user, role=role))
        return Outcome.NEW

    def settle(self, call: Call) -> None:
        """Do it: new members and new leads first, so that no project is without a lead on the way."""
        members.add_members(joining=self._joining, by=call.by, at=call.at)
        rows = Membership.objects.select_related("project", "user").in_bulk([pk for _line, pk, _role in self._changing])
        for line, pk, role in sorted(self._changing, key=lambda each: each[2] != ProjectRole.LEAD):
            with call.line(line):
                members.change_role(membership=rows[pk], role=role, by=call.by, at=call.at)


class ClusterNames:
    """User names on the clusters: whose they are, and which ones are new."""

    def __init__(self) -> None:
        self._clusters = {row.code: row for row in Cluster.objects.all()}
        rows = ClusterUser.objects.values_list("cluster", "name", "user__email")
        self._owner = {(cluster, name): email for cluster, name, email in rows}
        self._new: list[tuple[Cluster, str, User]] = []

    def give(self, word: str, user: User, call: Call) -> Outcome:
        """`name` on every cluster, or `cluster:name` on one. Raises BadLine when it belongs to someone else."""
        outcome = Outcome.SAME
        for cluster, name in self._meant(word, call):
            owner = self._owner.get((cluster.pk, name))
            if owner == user.email:
                continue
            if owner is not None:
                raise BadLine(
                    _(
                        "The user name “%(name)s” on %(cluster)s belongs to %(owner)s. "
                        "Write cluster:name to give a name on one cluster only."
                    )
                    % {"name": name, "cluster": cluster.code, "owner": owner}
                )
            self._owner[cluster.pk, name] = user.email
            self._new.append((cluster, name, user))
            outcome = Outcome.CHANGED
        return outcome

    def settle(self, call: Call) -> None:
        members.add_cluster_users(names=self._new, by=call.by, at=call.at)

    def _meant(self, word: str, call: Call) -> list[tuple[Cluster, str]]:
        code, colon, name = word.rpartition(":")
        if not name or len(name) > 128:
            raise BadLine(_("“%(word)s” is not a user name on a cluster.") % {"word": word})
        if not colon:
            if not self._clusters:
                raise call.missing(
                    "cluster", "", _("There is no cluster yet to have user names on; bring in pools first.")
                )
            return [(cluster, name) for cluster in self._clusters.values()]
        if code not in self._clusters:
            raise call.missing("cluster", code, _("There is no cluster “%(code)s”.") % {"code": code})
        return [(self._clusters[code], name)]


def take_members(lines: list[Line], count: Count, call: Call) -> None:
    projects = {row.code: row for row in Project.objects.all()}
    crowd = Crowd(call)
    kept: list[tuple[Line, str]] = []
    first: dict[tuple[str, str], Line] = {}
    for line in lines:
        with call.line(line):
            email = crowd.want(line, name=line.text("name", most=200, needed=False))
            earlier = first.setdefault((line.cells["project"], email), line)
            if earlier is not line:
                raise BadLine(
                    _("Line %(line)s already has %(email)s in %(project)s.")
                    % {"line": earlier.number, "email": email, "project": line.cells["project"]}
                )
            kept.append((line, email))
    renamed = crowd.gather()
    teams, names = Teams(), ClusterNames()
    for line, email in kept:
        with call.line(line):
            code = line.text("project", most=40)
            role = _role(line, email, call)
            project = projects.get(code)
            if project is None:
                raise call.missing("project", code, _("There is no project “%(code)s”.") % {"code": code})
            user = crowd.person(email)
            outcomes = {names.give(word, user, call) for word in line.words("cluster_users")}
            outcomes.add(teams.give(project, user, role, line))
            if email in renamed:
                outcomes.add(Outcome.CHANGED)
            count.add(next(each for each in Outcome if each in outcomes))
    teams.settle(call)
    names.settle(call)


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
