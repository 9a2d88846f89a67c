"""The user names on clusters that have run for a project, for the page of its members. See centre.registry."""

from django.db.models import Exists, OuterRef

from allocations.models import DailyUsage, JobRun
from centre.models import Cluster, ClusterUser, Project
from centre.registry import NamesInRuns, UnclaimedName

MOST = 50


def unclaimed(project: Project) -> list[UnclaimedName]:
    """Names with usage on the project's allocations that are nobody's yet, by cluster and name; at most 50."""
    somebodys = ClusterUser.objects.filter(cluster=OuterRef("allocation__pool__cluster"), name=OuterRef("user_name"))
    used = DailyUsage.objects.filter(allocation__project=project, seconds__gt=0).exclude(user_name="")
    where = ("allocation__pool__cluster", "allocation__pool__cluster__code", "user_name")
    names = used.filter(~Exists(somebodys)).order_by(*where[1:]).values_list(*where).distinct()
    return [UnclaimedName(cluster, code, name) for cluster, code, name in names[:MOST]]


def runs_elsewhere(project: Project, cluster: Cluster, name: str) -> bool:
    """Whether the name was charged to another project, or has runs that no project was charged for.

    Looks through all of the cluster's usage, which no index helps with: asked once, when somebody names a name.
    """
    charged = DailyUsage.objects.filter(allocation__pool__cluster=cluster, user_name=name, seconds__gt=0)
    if charged.exclude(allocation__project=project).exists():
        return True
    return JobRun.objects.filter(cluster=cluster, user_name=name, unmatched_seconds__gt=0).exists()


NAMES_IN_RUNS = NamesInRuns(unclaimed=unclaimed, runs_elsewhere=runs_elsewhere)
