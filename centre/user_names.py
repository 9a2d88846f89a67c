"""A team says whose runs are whose: user names on clusters that ran for its project and are nobody's yet.

A name that has also run for another project is not one team's to give away; staff say whose it is, in the
administration, where they also correct.
"""

from datetime import datetime

from django.db import transaction
from django.utils.translation import gettext as _

from centre import registry
from centre.members import MemberError, NameTaken, NotAMember, add_cluster_user
from centre.models import Cluster, ClusterUser, Membership, Project, User


class NotOfThisProject(MemberError):
    """The name has not run for this project, or for others as well."""


@transaction.atomic
def claim_name(*, project: Project, cluster: Cluster, name: str, user: User, by: User, at: datetime) -> ClusterUser:
    """Say that an unclaimed name of the project's runs is this member's. Said twice it is kept once.

    Raises NotAMember, NameTaken, NotOfThisProject.
    """
    taken = ClusterUser.objects.filter(cluster=cluster, name=name).first()
    if taken is not None and taken.user_id == user.pk:
        return taken
    if taken is not None:
        raise NameTaken(_("The user name %(name)s belongs to somebody already.") % {"name": name})
    if not Membership.objects.current().filter(project=project, user=user).exists():
        raise NotAMember(_("This person does not belong to the project any more."))
    known = {(each.cluster_id, each.name) for each in registry.unclaimed_names(project)}
    if (cluster.pk, name) not in known:
        raise NotOfThisProject(_("No run of this project was made under the user name %(name)s.") % {"name": name})
    if registry.has_run_elsewhere(project, cluster, name):
        raise NotOfThisProject(
            _("%(name)s has also run outside this project. Ask the centre to say whose it is.") % {"name": name}
        )
    return add_cluster_user(cluster=cluster, name=name, user=user, by=by, at=at)
