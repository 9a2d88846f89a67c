"""What each role in a team may do, as a sentence for those who give it and those who get it."""

from collections.abc import Mapping
from types import MappingProxyType

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from centre.permissions import ProjectRole

MEANS: Mapping[str, Promise] = MappingProxyType(
    {
        ProjectRole.LEAD: _(
            "Answers for the project: invites and removes people, also leads, and asks the centre for GPU-hours."
        ),
        ProjectRole.MANAGER: _("Invites and removes people other than leads, and asks the centre for GPU-hours."),
        ProjectRole.MEMBER: _("Runs jobs, and sees the project’s quotas, usage and statements."),
        ProjectRole.VIEWER: _("Sees the project’s quotas, usage and statements, and changes nothing."),
    }
)


def what_role_means(role: str) -> str:
    """The sentence, in the language of the page or letter."""
    return str(MEANS[role])
