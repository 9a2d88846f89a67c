"""Import tokens: what a collector proves with that it may hand over the usage of one cluster.

A token is `usage_`, ten characters that tell it from others, and 32 random bytes. Its digest alone is kept: a sum
without salt, since nobody can try 2^256 secrets. Whoever loses the secret makes another token and revokes this one.
"""

import hashlib
import re
import secrets
from datetime import datetime, timedelta
from hmac import compare_digest
from typing import Final

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from allocations.models import ImportToken
from centre import audit
from centre.models import Cluster, User

_BYTES: Final = 32
_WRITTEN: Final = re.compile(rf"(usage_[0-9a-f]{{10}})_[0-9a-f]{{{2 * _BYTES}}}")
_NOTED_EVERY: Final = timedelta(minutes=1)


class TokenError(Exception):
    """Why a token cannot be made or revoked, as a sentence for the person."""


@transaction.atomic
def make_token(*, cluster: Cluster, label: str, by: User, at: datetime, key: str = "") -> tuple[ImportToken, str]:
    """Make a token for a cluster's collector; returns it and its secret, which nobody can show a second time.

    `key` is the same as often as one form is sent: TokenError when it made its token already.
    """
    prefix = f"usage_{hashlib.sha256(key.encode()).hexdigest()[:10] if key else secrets.token_hex(5)}"
    if ImportToken.objects.filter(prefix=prefix).exists():
        raise TokenError(
            _(
                "This form has made its token already, and the secret was shown then. If you did not keep it, revoke "
                "%(prefix)s… and begin anew."
            )
            % {"prefix": prefix}
        )
    secret = f"{prefix}_{secrets.token_hex(_BYTES)}"
    token = ImportToken.objects.create(
        cluster=cluster, label=label, prefix=prefix, digest=_digest(secret), made_by=by, made_at=at
    )
    audit.record(
        act="make_import_token",
        on=token,
        by=by,
        at=at,
        changes={"cluster": [None, cluster.code], "label": [None, label], "prefix": [None, prefix]},
    )
    return token, secret


@transaction.atomic
def revoke_token(*, token: ImportToken, by: User, at: datetime, reason: str) -> ImportToken:
    """From now on nothing is accepted with this token. Raises TokenError when it was revoked before."""
    if not ImportToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=at, revoked_by=by):
        raise TokenError(_("This token was revoked already."))
    token.refresh_from_db()
    audit.record(act="revoke_import_token", on=token, by=by, at=at, reason=reason)
    return token


def token_of(text: str, at: datetime) -> ImportToken | None:
    """The token that a collector sent; None when there is none such or it was revoked. Its use is noted."""
    written = _WRITTEN.fullmatch(text)
    if written is None:
        return None
    token = ImportToken.objects.select_related("cluster").filter(prefix=written[1], revoked_at=None).first()
    if token is None or not compare_digest(token.digest, _digest(text)):
        return None
    unnoted = Q(last_used_at=None) | Q(last_used_at__lte=at - _NOTED_EVERY)
    ImportToken.objects.filter(unnoted, pk=token.pk).update(last_used_at=at)
    return token


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
