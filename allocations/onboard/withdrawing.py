"""Withdrawing an upload, so that what is not in the books of it waits for nobody and cannot be applied by mistake."""

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction
from django.utils.translation import gettext as _

from allocations.models import OnboardingFile, OnboardingUpload
from allocations.onboard.preview import UploadError, locked, refuse_withdrawn
from centre import audit
from centre.models import User


class NothingLeft(UploadError):
    """The books hold all of it."""


@transaction.atomic
def withdraw(*, upload: OnboardingUpload, reason: str, by: User, at: datetime) -> OnboardingUpload:
    """Let nobody apply what is left of an upload; what was applied, and the files, stay.

    Whoever may hand files over may withdraw them, also a colleague's: that is how a second officer turns an upload
    down. Raises Withdrawn when somebody did so already, NothingLeft.
    """
    row = locked(upload)
    refuse_withdrawn(row)
    if not is_left(row.files.defer("content")):
        raise NothingLeft(_("The books hold all of this upload already: nothing of it is left to withdraw."))
    row.withdrawn_at, row.withdrawn_by = at, by
    row.save(update_fields=["withdrawn_at", "withdrawn_by"])
    audit.record(act="withdraw_upload", on=row, by=by, at=at, reason=reason)
    return row


def is_left(files: Iterable[OnboardingFile]) -> bool:
    """Whether a line of these files is not in the books, by the last look at them."""
    return any(file.new or file.changed or file.wrong for file in files)
