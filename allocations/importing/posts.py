"""`/usage/imports/`: where a collector hands over a cluster's usage, and asks what became of it.

It proves itself with the cluster's token (`Authorization: Bearer …`). The body is the export as it is or compressed by
gzip; it goes to the disk in blocks as it comes, and the answer says that it is safe there. Answers are JSON; whatever
is refused says in `error`, in English, what to do.
"""

import json
import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from allauth.account.adapter import get_adapter
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.cache import cache
from django.db import DatabaseError
from django.http import HttpRequest, JsonResponse, UnreadablePostError
from django.utils import timezone
from django.utils.translation import override
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from allocations.importing.receiving import TokenRevoked, receive
from allocations.importing.stored_files import TooLarge
from allocations.importing.tokens import token_of
from allocations.models import ImportToken, UsageImport
from allocations.slurm.header import UnreadableExport

logger = logging.getLogger(__name__)

EPOCH_SECONDS: Final = re.compile(r"[0-9]{9,10}")
COUNTS: Final = ("read", "accepted", "unchanged", "ignored", "quarantined", "unmatched", "charged_gpu_seconds")
LIMITS: Final = {"hand over": (120, 3600), "ask": (1200, 3600), "no token": (20, 600)}
"""How often each is answered in so many seconds: the first two for a token, the last for an address."""


class Refused(Exception):
    """The answer that ends a request: its status, and a sentence that says what to do."""

    def __init__(self, status: int, sentence: str, **headers: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def in_json(told: dict[str, object], *, status: int, headers: dict[str, str] | None = None) -> JsonResponse:
    """An answer that a person at a terminal can read as well."""
    return JsonResponse(told, status=status, headers=headers, json_dumps_params={"ensure_ascii": False})


def answers_json(view: Callable[..., JsonResponse]) -> Callable[..., JsonResponse]:
    """What a collector is refused is told in JSON, in English."""

    @wraps(view)
    def told(request: HttpRequest, *args: int, **named: int) -> JsonResponse:
        with override("en"):
            try:
                return view(request, *args, **named)
            except Refused as refused:
                return in_json({"error": refused.sentence}, status=refused.status, headers=refused.headers)

    return told


# A token in a header counts here and no cookie does, so no other site can make a browser send what is accepted: there
# is nothing for a CSRF token to protect. It is the one view that may say so.
@csrf_exempt
@login_not_required
@never_cache
@answers_json
def hand_over_usage(request: HttpRequest) -> JsonResponse:
    """Take an export in; 202 once it is on the disk, 200 when it had been handed over before."""
    only(request, "POST")
    now = timezone.now()
    token = proven(request, "hand over", at=now)
    as_of, covers_from, zone = window_of(request)
    try:
        usage_import, is_new = receive(
            stream=Body(request, announced_length(request)),
            file_name=f"{token.label}, {as_of:%Y-%m-%dT%H:%M:%SZ}",
            cluster=token.cluster,
            source=UsageImport.Source.COLLECTOR,
            at=now,
            token=token,
            as_of=as_of,
            covers_from=covers_from,
            zone=zone,
        )
    except TooLarge as error:
        raise Refused(413, f"{error} Nothing was kept.") from error
    except UnreadableExport as error:
        raise Refused(422, f"{error} Nothing was kept.") from error
    except TokenRevoked as error:
        raise no_token() from error
    except BrokenOff as error:
        raise Refused(400, "The body is shorter than Content-Length. Nothing was kept; send it again.") from error
    except (OSError, DatabaseError) as error:
        logger.exception("An export of %s could not be kept", token.cluster.code)
        sentence = "The portal cannot keep the export at the moment. Nothing was kept; send it again later."
        raise Refused(503, sentence, Retry_After="300") from error
    return in_json(state_of(usage_import), status=202 if is_new else 200)


@login_not_required
@never_cache
@answers_json
def handed_over_usage(request: HttpRequest, pk: int) -> JsonResponse:
    """What became of an import, for whoever holds a token of its cluster."""
    only(request, "GET")
    token = proven(request, "ask", at=timezone.now())
    usage_import = UsageImport.objects.filter(cluster=token.cluster_id, pk=pk).first()
    if usage_import is None:
        raise Refused(404, f"This cluster has no import {pk}.")
    return in_json(state_of(usage_import), status=200)


def state_of(usage_import: UsageImport) -> dict[str, object]:
    """An import as a collector is told of it; instants are epoch seconds."""
    begins, ends = usage_import.covers_from, usage_import.as_of
    return {
        "import": usage_import.pk,
        "state": usage_import.state,
        "sha256": usage_import.sha256,
        "size_bytes": usage_import.size_bytes,
        "as_of": int(ends.timestamp()) if ends else None,
        "from": int(begins.timestamp()) if begins else None,
        **{name: getattr(usage_import, name) for name in COUNTS},
        "warning": usage_import.warning,
        "error": usage_import.error,
    }


def only(request: HttpRequest, method: str) -> None:
    if request.method != method:
        raise Refused(405, f"Send {method}.", Allow=method)


def no_token() -> Refused:
    sentence = "No token that is accepted. Send “Authorization: Bearer …” with a token that was not revoked."
    return Refused(401, sentence, WWW_Authenticate='Bearer realm="usage imports"')


def proven(request: HttpRequest, act: str, *, at: datetime) -> ImportToken:
    """The token of the request. Only failures count against an address: nobody there can lock a good token out."""
    scheme, _space, secret = request.headers.get("Authorization", "").partition(" ")
    token = token_of(secret.strip(), at) if scheme.lower() == "bearer" else None
    if token is None:
        refuse_too_many("no token", get_adapter().get_client_ip(request))
        raise no_token()
    refuse_too_many(act, str(token.pk))
    return token


def refuse_too_many(act: str, who: str) -> None:
    """Count this request; 429 when there were too many of its kind in the present span of time."""
    most, seconds = LIMITS[act]
    span, passed = divmod(int(timezone.now().timestamp()), seconds)
    key = f"usage-imports:{act.replace(' ', '-')}:{who}:{span}"
    cache.add(key, 0, timeout=seconds)
    try:
        count = cache.incr(key)
    except ValueError:  # it was just thrown out for want of room
        count = 1
    if count > most:
        wait = seconds - passed
        raise Refused(429, f"Too many requests. Come again in {wait} seconds.", Retry_After=str(wait))


def window_of(request: HttpRequest) -> tuple[datetime, datetime | None, ZoneInfo | None]:
    """When sacct ran, where its window began, and the zone of times without an offset."""
    as_of = instant(request, "as_of")
    if as_of is None:
        raise Refused(400, "Say in as_of when sacct ran, in epoch seconds: ?as_of=1772589600.")
    zone = request.GET.get("time_zone")
    try:
        return as_of, instant(request, "from"), ZoneInfo(zone) if zone else None
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: a region without a city is a folder
        sentence = f"time_zone={json.dumps(zone)} is not a time zone such as Asia/Hong_Kong or UTC."
        raise Refused(400, sentence) from error


def instant(request: HttpRequest, name: str) -> datetime | None:
    text = request.GET.get(name)
    if not text:
        return None
    if not EPOCH_SECONDS.fullmatch(text):
        raise Refused(400, f"{name}={json.dumps(text)} is not an instant in epoch seconds such as 1772589600.")
    return datetime.fromtimestamp(int(text), UTC)


def announced_length(request: HttpRequest) -> int:
    """The size of the body by its headers, refused before any of it is read when it cannot be accepted."""
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in {"", "identity", "gzip"}:
        raise Refused(415, "Send the export as it is, or compressed with “Content-Encoding: gzip”.")
    length = request.headers.get("Content-Length", "")
    if "Transfer-Encoding" in request.headers or not (length.isascii() and length.isdecimal()):
        sentence = "Send Content-Length, not a chunked body: curl --upload-file FILE does, for a file and not a pipe."
        raise Refused(411, sentence)
    limit = settings.USAGE_FILE_LIMIT
    if len(length) > 18 or int(length) > limit:
        raise Refused(413, f"The file is larger than {limit // 1_000_000} MB. Export a shorter window.")
    return int(length)


class BrokenOff(Exception):
    """The body ended before its announced length."""


class Body:
    """The body of a request, read as it comes and never held as a whole."""

    def __init__(self, request: HttpRequest, length: int) -> None:
        self._request, self._left = request, length

    def read(self, size: int, /) -> bytes:
        if not self._left:
            return b""
        try:
            block = self._request.read(min(size, self._left))
        except UnreadablePostError as error:
            raise BrokenOff from error
        if not block:
            raise BrokenOff
        self._left -= len(block)
        return block
