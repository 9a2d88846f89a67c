"""What exists so far while the demo is being loaded."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from centre import members
from centre.demo import content, people
from centre.demo.diary import Diary
from centre.models import GpuPool, Project, Tenant, User

DAY_OF_GPU = 24 * 3600  # GPU-seconds of one GPU on one day


@dataclass
class World:
    """The clock, the diary, and the rows that later acts need, by their codes."""

    now: datetime
    diary: Diary
    password: str = ""
    users: dict[str, User] = field(default_factory=dict)
    pools: dict[str, GpuPool] = field(default_factory=dict)
    tenants: dict[str, Tenant] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)
    planned_projects: set[str] = field(default_factory=set)

    def staff(self, key: str) -> User:
        return self.users[people.address(key)]

    def lead(self, project: str) -> User:
        return self.users[people.lead_of(project)]

    def is_planned(self, project: str) -> bool:
        """Whether the project's registration stands in the diary; from now on it does."""
        known = project in self.planned_projects
        self.planned_projects.add(project)
        return known

    def add_people(self, persons: Sequence[members.Person], *, by: User | None, at: datetime) -> list[User]:
        """Make these people, with the demo's password. One hash serves all, so that loading takes no minute for it."""
        users = members.add_people(people=persons, by=by, at=at)
        User.objects.filter(pk__in=[user.pk for user in users]).update(password=self.password)
        for user in users:
            user.password = self.password
            self.users[user.email] = user
        return users

    def add_team(self, team: content.TeamPlan, *, at: datetime) -> None:
        """Everybody but the lead, and whose user names on the cluster are whose."""
        by = self.staff("tenant.officer")
        project = Project.objects.get(code=team.code)
        joining = people.team_people(team)[1:]
        users = self.add_people([person for person, _role in joining], by=by, at=at)
        members.add_members(
            joining=[
                members.Joining(project=project, user=user, role=role)
                for user, (_person, role) in zip(users, joining, strict=True)
            ],
            by=by,
            at=at,
        )
        running = [
            self.lead(team.code),
            *(user for user, (_, role) in zip(users, joining, strict=True) if role == "member"),
        ]
        members.add_cluster_users(
            names=[
                (self.pools[content.H800].cluster, name, user)
                for name, user in zip(team.cluster_users, running, strict=False)
            ],
            by=by,
            at=at,
        )

    def seconds(self, gpus: int, days: int) -> int:
        """GPU-seconds of so many GPUs over so many days, in round thousands of GPU-hours (small ones in hundreds)."""
        hours = gpus * 24 * days
        step = 1_000 if hours > 50_000 else 100
        return hours // step * step * 3600
