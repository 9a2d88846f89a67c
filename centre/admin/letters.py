"""Invitations into teams and the record of letters, to read. Teams invite on their own pages."""

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from centre.admin.kept import HistoryAdmin
from centre.models import Invitation, Letter
from centre.models.invitations import InvitationQuerySet


@admin.register(Invitation)
class InvitationAdmin(HistoryAdmin[Invitation]):
    list_display = ("email", "project", "role", "invited_by", "invited_at", "state", "undelivered_at")
    list_select_related = ("project", "invited_by")
    search_fields = ("email", "project__code")
    search_help_text = _("By the e-mail address or the project's code.")
    sortable_by = ()
    fields = (
        *("project", "email", "name", "language", "role", "state", "invited_by", "invited_at", "expires_at"),
        *("undelivered_at", "accepted_by", "accepted_at", "withdrawn_by", "withdrawn_at"),
    )
    readonly_fields = ("state",)

    def get_queryset(self, request: HttpRequest) -> InvitationQuerySet:
        return Invitation.objects.with_role_of_inviter().select_related("project")

    @admin.display(description=_("state"))
    def state(self, obj: Invitation) -> str:
        return str(obj.fate(at=timezone.now()).label)


@admin.register(Letter)
class LetterAdmin(HistoryAdmin[Letter]):
    list_display = ("sent_at", "user", "subject")
    list_select_related = ("user",)
    search_fields = ("user__email",)
    search_help_text = _("By the e-mail address of the person.")
    sortable_by = ()
    fields = ("sent_at", "user", "subject")
