"""A team that changes: somebody who came, got another role and left, and an invitation that waits for an answer.

The letter of that invitation goes out when the demo is loaded, so that its link can be opened.
"""

from datetime import datetime
from functools import partial

from centre import invitations, members
from centre.demo import people
from centre.demo.world import World
from centre.models import Membership, Project
from centre.permissions import ProjectRole

TEAM = "gene-fold"
VISITOR = members.Person(people.address(f"{TEAM}.visitor"), "Demo visitor, protein folding")
INVITED = "gene-fold.newcomer@example.org"


def write(world: World) -> None:
    """Who came and went, and who is invited, in the diary."""
    world.diary.on(-60, 10, partial(add_visitor, world))
    world.diary.on(-30, 10, partial(let_visitor_only_look, world))
    world.diary.on(-15, 17, partial(remove_visitor, world))
    world.diary.on(-1, 11, partial(invite_newcomer, world))


def add_visitor(world: World, at: datetime) -> None:
    by = world.lead(TEAM)
    [user] = world.add_people([VISITOR], by=by, at=at)
    members.add_member(project=Project.objects.get(code=TEAM), user=user, role=ProjectRole.MEMBER, by=by, at=at)


def let_visitor_only_look(world: World, at: datetime) -> None:
    members.change_role(membership=part_of_visitor(), role=ProjectRole.VIEWER, by=world.lead(TEAM), at=at)


def remove_visitor(world: World, at: datetime) -> None:
    members.remove_member(membership=part_of_visitor(), by=world.lead(TEAM), at=at)


def invite_newcomer(world: World, at: datetime) -> None:
    invitations.invite_to_project(
        project=Project.objects.get(code=TEAM),
        email=INVITED,
        name="Demo newcomer",
        role=ProjectRole.MEMBER,
        by=world.lead(TEAM),
        at=at,
    )


def part_of_visitor() -> Membership:
    return Membership.objects.current().select_related("project", "user").get(user__email=VISITOR.email)
