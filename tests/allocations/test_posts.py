"""`/usage/imports/`: what a collector hands over is safe before it is told so; everything else says what to do."""

import gzip
import hashlib
import json
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as portal
from django.core.handlers.wsgi import WSGIRequest
from django.test import Client
from django.utils import timezone
from django_tasks_db.models import DBTaskResult
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from allocations.importing import posts, working
from allocations.importing.tokens import make_token, revoke_token
from allocations.models import ImportToken, UsageImport
from centre.models import Cluster, Event
from centre.permissions import StaffRole
from tests import make
from tests.allocations.books import charged_by_account, small_centre
from tests.allocations.exports import spelled

pytestmark = pytest.mark.django_db
NOON = 1_772_683_200  # on the day after the runs of `exports`
PATH = "/usage/imports/"
WINDOW = f"{PATH}?as_of={NOON}&from={NOON - 86_400}"


@pytest.fixture(autouse=True)
def store(tmp_path: Path, settings: Settings) -> Path:
    """A folder of the test's own in which files are kept."""
    folder = tmp_path / "usage"
    settings.USAGE_FILES_DIR = folder
    return folder


class Collector:
    """Hands over what it is given, with a token of its cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.token, self.secret = make_token(cluster=cluster, label="login1", by=make.person(), at=timezone.now())

    def post(self, data: bytes, path: str = WINDOW, **headers: str) -> tuple[int, dict[str, object]]:
        told: dict[str, Any] = {"HTTP_AUTHORIZATION": f"Bearer {self.secret}", **headers}
        answer = Client().generic("POST", path, data, content_type="text/plain", **told)
        return answer.status_code, json.loads(answer.content)

    def ask(self, number: object) -> tuple[int, dict[str, object]]:
        answer = Client().get(f"{PATH}{number}/", headers={"authorization": f"Bearer {self.secret}"})
        return answer.status_code, json.loads(answer.content)


def kept_files() -> list[Path]:
    return [path for path in Path(portal.USAGE_FILES_DIR).rglob("*") if path.is_file()]


def test_export_is_kept_with_its_window_and_waits_for_the_worker(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    collector, data = Collector(small_centre()), spelled({})
    with django_capture_on_commit_callbacks(execute=True):
        status, told = collector.post(data)
    kept = UsageImport.objects.get()
    assert (status, told["import"], told["state"], told["sha256"], told["size_bytes"]) == (
        *(202, kept.pk, "received"),
        *(hashlib.sha256(data).hexdigest(), len(data)),
    )
    assert (told["as_of"], told["from"]) == (NOON, NOON - 86_400)
    assert (kept.source, kept.token, kept.cluster) == ("collector", collector.token, collector.cluster)
    assert (kept.as_of, kept.as_of_was_given) == (datetime.fromtimestamp(NOON, UTC), True)
    assert kept.covers_from == datetime.fromtimestamp(NOON - 86_400, UTC)
    [path] = kept_files()
    assert gzip.decompress(path.read_bytes()) == data
    assert Event.objects.get(act="receive_usage").changes["token"] == [None, collector.token.prefix]
    assert DBTaskResult.objects.count() == 1

    working.work_through(clock=timezone.now, worker="test")

    status, told = collector.ask(kept.pk)
    assert (status, told["state"], told["read"], told["accepted"]) == (200, "done", 1, 1)
    assert told["charged_gpu_seconds"] == charged_by_account()["lab"] == 8 * 7200


def test_same_file_again_is_answered_with_the_import_that_stands() -> None:
    collector, data = Collector(small_centre()), spelled({})
    first = collector.post(data)
    again = collector.post(gzip.compress(data), HTTP_CONTENT_ENCODING="gzip")
    assert (first[0], again[0], again[1]) == (202, 200, first[1])
    assert (UsageImport.objects.count(), len(kept_files())) == (1, 1)
    assert collector.post(data, f"{PATH}?as_of={NOON + 1}")[0] == 202


@pytest.mark.parametrize("path", ["/usage/imports", "/usage/imports/"])
def test_address_may_end_in_a_slash_or_not(path: str) -> None:
    assert Collector(small_centre()).post(spelled({}), f"{path}?as_of={NOON}")[0] == 202


def test_zone_of_times_without_an_offset_can_be_told() -> None:
    assert Collector(small_centre()).post(spelled({}), f"{WINDOW}&time_zone=UTC")[0] == 202
    assert UsageImport.objects.get().time_zone == "UTC"


@pytest.mark.parametrize(
    ("data", "path", "headers", "status", "sentence"),
    [
        (spelled({}), PATH, {}, 400, "Say in as_of when sacct ran"),
        (spelled({}), f"{PATH}?as_of=yesterday", {}, 400, 'as_of="yesterday" is not an instant in epoch seconds'),
        (spelled({}), f"{WINDOW}&from=1", {}, 400, 'from="1" is not an instant in epoch seconds'),
        (spelled({}), f"{WINDOW}&time_zone=Asia", {}, 400, 'time_zone="Asia" is not a time zone'),
        (spelled({}), WINDOW, {"HTTP_CONTENT_ENCODING": "br"}, 415, "compressed with “Content-Encoding: gzip”"),
        (spelled({}), WINDOW, {"CONTENT_LENGTH": ""}, 411, "Send Content-Length, not a chunked body"),
        (spelled({}), WINDOW, {"HTTP_TRANSFER_ENCODING": "chunked"}, 411, "Send Content-Length, not a chunked body"),
        (spelled({}), WINDOW, {"CONTENT_LENGTH": "5000001"}, 413, "larger than 5 MB. Export a shorter window."),
        (spelled({}), WINDOW, {"CONTENT_LENGTH": "9" * 5_000}, 413, "larger than 5 MB. Export a shorter window."),
        (gzip.compress(spelled({}) + b"x" * 40_000_000), WINDOW, {}, 413, "larger than 5 MB"),
        (spelled({}, delimiter="|"), WINDOW, {}, 422, "Draw a random one of 16 characters or more for each export."),
        (b"hello\n", WINDOW, {}, 422, "Export with sacct -P and without --noheader."),
        (b"", WINDOW, {"CONTENT_LENGTH": "0"}, 422, "Export with sacct -P and without --noheader."),
        (gzip.compress(spelled({}))[:-9], WINDOW, {}, 422, "Hand it over again."),
        (spelled({}), f"{PATH}?as_of=1999999999", {}, 422, "is in the future"),
        (spelled({}), f"{PATH}?as_of={NOON}&from={NOON + 1}", {}, 422, "after its end. Check the instants."),
    ],
)
def test_what_cannot_be_taken_says_what_to_do_and_leaves_nothing(
    settings: Settings, data: bytes, path: str, headers: dict[str, str], status: int, sentence: str
) -> None:
    settings.USAGE_FILE_LIMIT = 5_000_000
    code, told = Collector(small_centre()).post(data, path, **headers)
    assert (code, list(told), sentence in str(told["error"])) == (status, ["error"], True), told
    assert (kept_files(), UsageImport.objects.count()) == ([], 0)


def test_only_a_token_that_stands_counts() -> None:
    collector = Collector(small_centre())
    administrator = Client()
    administrator.force_login(make.staff(StaffRole.ADMINISTRATOR))
    refused = [
        administrator.post(WINDOW, spelled({}), content_type="text/plain"),
        *(
            Client().post(WINDOW, spelled({}), content_type="text/plain", headers={"authorization": text})
            for text in ("", "Bearer", "Bearer x", f"Basic {collector.secret}", collector.secret)
        ),
    ]
    revoke_token(token=collector.token, by=make.person(), at=timezone.now(), reason="-")
    headers = {"authorization": f"Bearer {collector.secret}"}
    refused.append(Client().post(WINDOW, spelled({}), content_type="text/plain", headers=headers))
    assert {(answer.status_code, answer["WWW-Authenticate"][:6]) for answer in refused} == {(401, "Bearer")}
    assert "a token that was not revoked" in json.loads(refused[0].content)["error"]
    assert (UsageImport.objects.count(), kept_files()) == (0, [])


def test_token_revoked_while_the_body_comes_in_does_not_count(store: Path) -> None:
    collector, data = Collector(small_centre()), spelled({})

    class SlowBody(BytesIO):
        """By the time that the body is there the token does not stand any more."""

        def read(self, size: int | None = -1, /) -> bytes:
            if collector.token.revoked_at is None:
                revoke_token(token=collector.token, by=make.person(), at=timezone.now(), reason="stolen")
            return super().read(size)

    environ = {"REQUEST_METHOD": "POST", "QUERY_STRING": f"as_of={NOON}", "CONTENT_LENGTH": str(len(data))}
    environ |= {"REMOTE_ADDR": "192.0.2.7", "HTTP_AUTHORIZATION": f"Bearer {collector.secret}", "PATH_INFO": PATH}
    answer = posts.hand_over_usage(WSGIRequest({**environ, "wsgi.input": SlowBody(data)}))
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, 'Bearer realm="usage imports"')
    assert (UsageImport.objects.count(), kept_files()) == (0, [])


@pytest.mark.parametrize("zone", ["localtime", "Factory", "right/Asia/Hong_Kong", "posixrules"])
def test_zone_that_is_another_one_elsewhere_is_refused(zone: str) -> None:
    status, _told = Collector(small_centre()).post(spelled({}), f"{WINDOW}&time_zone={zone}")
    assert status in {400, 422}  # 400 where the machine does not know it
    assert UsageImport.objects.count() == 0


def test_browser_of_somebody_signed_in_needs_no_csrf_token_because_its_cookie_does_not_count() -> None:
    collector = Collector(small_centre())
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(make.staff(StaffRole.ADMINISTRATOR))
    assert browser.post(WINDOW, spelled({}), content_type="text/plain").status_code == 401
    headers = {"authorization": f"Bearer {collector.secret}"}
    assert browser.post(WINDOW, spelled({}), content_type="text/plain", headers=headers).status_code == 202


def test_import_of_another_cluster_is_not_there() -> None:
    here, there = Collector(small_centre()), Collector(small_centre("other", accounts=()))
    number = here.post(spelled({}))[1]["import"]
    assert here.ask(number)[0] == 200
    assert there.ask(number) == (404, {"error": f"This cluster has no import {number}."})
    assert here.ask(999_999)[0] == 404


def test_other_methods_are_named() -> None:
    collector = Collector(small_centre())
    headers = {"authorization": f"Bearer {collector.secret}"}
    answers = (Client().get(PATH, headers=headers), Client().post(f"{PATH}1/", headers=headers))
    assert [(answer.status_code, answer["Allow"]) for answer in answers] == [(405, "POST"), (405, "GET")]


def test_failed_tokens_of_an_address_are_limited_and_lock_no_good_token_out() -> None:
    collector = Collector(small_centre())
    most, seconds = posts.LIMITS["no token"]
    codes = [Client().post(WINDOW).status_code for _ in range(most)]
    answer = Client().post(WINDOW)
    assert (set(codes), answer.status_code) == ({401}, 429)
    assert 0 < int(answer["Retry-After"]) <= seconds
    assert "Come again in" in json.loads(answer.content)["error"]
    assert Client().post(WINDOW, REMOTE_ADDR="192.0.2.7").status_code == 401
    assert collector.post(spelled({}))[0] == 202


def test_requests_of_a_token_are_limited() -> None:
    here, there = Collector(small_centre()), Collector(small_centre("other", accounts=()))
    most, _seconds = posts.LIMITS["hand over"]
    assert {here.post(b"", PATH)[0] for _ in range(most)} == {400}
    assert here.post(spelled({}))[0] == 429
    assert (there.post(spelled({}))[0], here.ask(1)[0]) == (202, 404)


def test_store_that_cannot_be_written_asks_to_come_again(store: Path) -> None:
    store.write_text("a file where the folder should be")
    collector = Collector(small_centre())
    answer = Client().post(
        WINDOW, spelled({}), content_type="text/plain", headers={"authorization": f"Bearer {collector.secret}"}
    )
    assert (answer.status_code, answer["Retry-After"]) == (503, "300")
    assert "send it again later" in json.loads(answer.content)["error"]
    assert UsageImport.objects.count() == 0


class Pieces(BytesIO):
    """A long export that is made while it is read, and remembers the most that was asked for at once."""

    most = 0

    def read(self, size: int | None = -1) -> bytes:
        self.most = max(self.most, size or 0, -(size or 0) * 10**9)
        return super().read(size)


def test_body_is_read_in_pieces() -> None:
    collector = Collector(small_centre())
    body = Pieces(spelled(*({"JobIDRaw": str(number), "DBIndex": str(number)} for number in range(1, 40_000))))
    size = len(body.getvalue())
    environ = {"REQUEST_METHOD": "POST", "QUERY_STRING": f"as_of={NOON}", "CONTENT_LENGTH": str(size)}
    environ |= {"REMOTE_ADDR": "192.0.2.7", "HTTP_AUTHORIZATION": f"Bearer {collector.secret}"}
    answer = posts.hand_over_usage(WSGIRequest({**environ, "wsgi.input": body, "PATH_INFO": PATH}))
    assert answer.status_code == 202
    assert (size > 5 << 20, body.most <= 1 << 20, body.tell()) == (True, True, size)


def test_last_use_is_noted() -> None:
    collector = Collector(small_centre())
    collector.post(spelled({}))
    noted = ImportToken.objects.get().last_used_at
    assert noted is not None
    assert timezone.now() - noted < timedelta(minutes=1)


@pytest.mark.parametrize("packed", [False, True])
def test_body_that_is_shorter_than_announced_leaves_nothing(packed: bool) -> None:
    collector = Collector(small_centre())
    data = gzip.compress(spelled({})) if packed else spelled({}, {"JobIDRaw": "8"})
    environ = {"REQUEST_METHOD": "POST", "QUERY_STRING": f"as_of={NOON}", "CONTENT_LENGTH": str(len(data) + 1)}
    environ |= {"REMOTE_ADDR": "192.0.2.7", "HTTP_AUTHORIZATION": f"Bearer {collector.secret}"}
    answer = posts.hand_over_usage(WSGIRequest({**environ, "wsgi.input": BytesIO(data), "PATH_INFO": PATH}))
    assert (answer.status_code, b"shorter than Content-Length" in answer.content) == (400, True)
    assert (kept_files(), UsageImport.objects.count()) == ([], 0)
