"""A collector's second try while its first is still at work: one import."""

import json
from functools import partial
from pathlib import Path

from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from allocations.importing.tokens import make_token
from allocations.models import UsageImport
from tests import make
from tests.allocations.books import small_centre
from tests.allocations.exports import spelled
from tests.postgres.acting import threads

ROUNDS = 5
PATH = "/usage/imports/?as_of={}"


def test_same_file_sent_four_times_at_once_is_one_import(committed: None, tmp_path: Path, settings: Settings) -> None:
    settings.USAGE_FILES_DIR = tmp_path
    _token, secret = make_token(cluster=small_centre(), label="login1", by=make.person(), at=timezone.now())
    data = spelled(*({"JobIDRaw": str(number), "DBIndex": str(number)} for number in range(1, 500)))

    def post(as_of: int) -> str:
        headers = {"authorization": f"Bearer {secret}"}
        answer = Client().post(PATH.format(as_of), data, content_type="text/plain", headers=headers)
        return f"{answer.status_code} {json.loads(answer.content).get('import')}"

    for number in range(ROUNDS):
        with threads(4) as at_once:
            answers = sorted(at_once([partial(post, 1_772_683_200 + number)] * 4))
        kept = UsageImport.objects.latest("pk").pk
        assert answers == [*[f"200 {kept}"] * 3, f"202 {kept}"]
    assert UsageImport.objects.count() == ROUNDS
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == ROUNDS
