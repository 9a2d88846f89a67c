"""What the portal makes of a real Slurm's exports, beside plain sums of the same records and beside Slurm's own sums.

The history is in `jobs.py`; `python -m tests.slurm` has played it before these tests begin.
"""

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from io import BytesIO, StringIO
from itertools import permutations
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from allocations.importing import working
from allocations.importing.tokens import make_token
from allocations.models import JobRun, UsageImport
from allocations.usage import import_usage
from centre.models import Cluster
from tests import make
from tests.allocations.books import FIRST, books, charged_by_account, opened
from tests.databases import own_copy
from tests.slurm.collecting import Collector, Export
from tests.slurm.configuration import CLUSTER, GPU, OTHER_GPU
from tests.slurm.jobs import HOSTILE, HOSTILE_NAMES, IMITATED, KINDS, OWNERS
from tests.slurm.played import Played, Record, read_records

pytestmark = pytest.mark.slurm

ROOT = Path(__file__).resolve().parents[2]
ALL_FIELDS = "JobIDRaw,JobID,DBIndex,Cluster,Account,User,Partition,QOS,State,Submit,Start,End,AllocTRES,JobName"
NOTHING_WRONG = {"ignored": 0, "quarantined": 0, "unmatched": 0}


@pytest.fixture
def cluster(committed: None) -> Cluster:
    """The lab's cluster in the portal: a pool for each GPU model, and an open allocation for whoever uses it."""
    cluster = make.cluster(CLUSTER)
    pool = make.pool(cluster=cluster, tres=f"gres/gpu:{GPU}", from_on=FIRST)
    other_pool = make.pool(cluster=cluster, tres=f"gres/gpu:{OTHER_GPU}", from_on=FIRST)
    for account in OWNERS:
        opened(account=account, pool=pool)
    for account in ("boat", "dune"):
        opened(account=account, pool=other_pool)
    return cluster


def imported(export: Export, cluster: Cluster) -> UsageImport:
    with export.path.open("rb") as stream:
        return import_usage(
            stream=stream,
            file_name=export.path.name,
            cluster=cluster,
            at=timezone.now(),
            as_of=datetime.fromtimestamp(export.as_of, UTC),
            covers_from=datetime.fromtimestamp(export.covers_from, UTC),
        )


def counts(done: UsageImport, *names: str) -> dict[str, int]:
    return {name: getattr(done, name) for name in names}


def by_account(records: Iterable[Record], as_of: int) -> dict[str, int]:
    """GPU-seconds by account, by plain sums; without accounts that used nothing."""
    total: dict[str, int] = defaultdict(int)
    for record in records:
        total[record.fields["Account"]] += record.gpu_seconds(as_of)
    return {account: seconds for account, seconds in total.items() if seconds}


def sums() -> dict[str, list[tuple[object, ...]]]:
    """The books without the runs: each of those knows the last export that told of it."""
    return {name: rows for name, rows in books().items() if name != "runs"}


def kind_of(record: Record) -> str:
    name = record.fields["JobName"]
    return name if name in KINDS else HOSTILE


def test_every_awkward_kind_took_place(played: Played) -> None:
    states: dict[str, Counter[str]] = defaultdict(Counter)
    for record in read_records(played.exports[-1]):
        states[kind_of(record)][record.state] += 1
    assert states == {name: Counter(kind.states) for name, kind in KINDS.items()}


def test_exports_met_jobs_in_every_stage(played: Played) -> None:
    """What runs or waits at an export is what the next ones correct."""
    unfinished = [
        {record.state for record in read_records(export) if record.instant("End") is None} for export in played.exports
    ]
    assert unfinished == [{"PENDING", "RUNNING", "SUSPENDED"}, {"PENDING", "RUNNING"}, set(), set()]


@pytest.mark.parametrize("number", range(4))
def test_one_export_charges_its_runs_up_to_its_instant(played: Played, cluster: Cluster, number: int) -> None:
    export = played.exports[number]
    done = imported(export, cluster)
    records = read_records(export)
    assert counts(done, "read", "accepted", *NOTHING_WRONG) == {
        "read": len(records),
        "accepted": len(records),
        **NOTHING_WRONG,
    }
    assert charged_by_account() == by_account(records, export.as_of)


def test_the_same_export_again_changes_nothing(played: Played, cluster: Cluster) -> None:
    imported(played.exports[0], cluster)
    before = books()
    again = imported(played.exports[0], cluster)
    assert counts(again, "accepted", "charged_gpu_seconds") == {"accepted": 0, "charged_gpu_seconds": 0}
    assert books() == before


def test_exports_in_every_order_give_the_same_books(played: Played, cluster: Cluster) -> None:
    """Four exports, 24 orders, each into a database of its own."""
    seen: list[dict[str, list[tuple[object, ...]]]] = []
    for order in permutations(played.exports):
        with own_copy():
            for export in order:
                imported(export, cluster)
            seen.append(books())
    assert len(seen) == 24
    assert [each for each in seen if each != seen[0]] == []


def test_charged_seconds_are_what_sreport_says(played: Played, cluster: Cluster) -> None:
    """To the second, but for the resized job: sreport counts the time before its change of size twice."""
    steps = []
    for export in played.exports:
        done = imported(export, cluster)
        steps.append(counts(done, "read", "accepted", "unchanged", *NOTHING_WRONG, "charged_gpu_seconds"))
    final = played.exports[-1]
    twice: dict[str, int] = defaultdict(int)
    for record in read_records(final):
        if seconds := record.gpu_seconds_told_twice(final.as_of):
            assert kind_of(record) == "resized"
            twice[record.fields["Account"]] += seconds
    charged = charged_by_account()
    assert set(charged) == set(OWNERS)
    assert set(twice) == {"dune"}
    assert {account: seconds + twice[account] for account, seconds in charged.items()} == played.slurm_seconds()

    today = datetime.fromtimestamp(final.as_of, cluster.zone).date()
    said = StringIO()
    call_command(
        *("reconcile_usage", f"--cluster={CLUSTER}", f"--from={today - timedelta(days=1)}", f"--to={today}"),
        sreport=str(played.sreport),
        stdout=said,
    )
    explained, agreed = said.getvalue().splitlines()
    assert f"explained: sreport counts {twice['dune']} GPU-seconds of resized jobs twice" in explained
    assert agreed.endswith("charges and runs agree with Slurm.")
    assert call_command("verify_ledger", stdout=StringIO()) is None
    kept = {"imports": steps, "charged": charged, "twice": twice, "reconciled": said.getvalue()}
    (played.folder / "compared.json").write_text(json.dumps(kept))


def test_a_lost_second_would_be_found(played: Played, cluster: Cluster, tmp_path: Path) -> None:
    """The control: one second more in one of sreport's rows, and the comparison fails."""
    imported(played.exports[-1], cluster)
    report = tmp_path / "sreport.txt"
    rows = played.sreport.read_text().splitlines()
    row = next(number for number, text in enumerate(rows) if text.startswith(f"{CLUSTER}|cove|games|"))
    *cells, seconds = rows[row].split("|")
    rows[row] = "|".join((*cells, str(int(seconds) + 1)))
    report.write_text("\n".join(rows))
    today = datetime.fromtimestamp(played.exports[-1].as_of, cluster.zone).date()
    window = (f"--from={today - timedelta(days=1)}", f"--to={today}")
    with pytest.raises(CommandError, match="1 differences"):
        call_command("reconcile_usage", f"--cluster={CLUSTER}", *window, sreport=str(report), stdout=StringIO())


def test_a_hostile_name_is_kept_as_it_is_and_charges_nobody_else(played: Played, cluster: Cluster) -> None:
    imported(played.exports[-1], cluster)
    stored = JobRun.objects.exclude(job_name__in=KINDS).values_list("job_name", flat=True)
    # Slurm itself stores a quotation mark as a backquote, and calls a job without a name "allocation"; line ends after
    # a name are not told from those after a record
    as_slurm_has_it = {'say "hello"': "say `hello`", "": "allocation"}
    names = (*HOSTILE_NAMES, f"x\n{IMITATED}", f"\n{IMITATED}\n")
    assert sorted(stored) == sorted(as_slurm_has_it.get(name, name).rstrip("\n") for name in names)
    assert not JobRun.objects.filter(job_id_raw="999").exists()


def test_a_job_number_that_comes_again_is_another_run(played: Played, cluster: Cluster) -> None:
    imported(played.exports[-1], cluster)
    runs = JobRun.objects.filter(job_id_raw="1").order_by("submit_at")
    assert [(run.job_name, run.account) for run in runs] == [("timeout", "aria"), ("recycled", "aria")]


def printed(played: Played, *options: str, time_format: str = "%s", zone: str = "UTC") -> bytes:
    """What sacct prints now, asked by hand."""
    asked = ["sacct", "-a", "-P", "--duplicates", f"--delimiter={make.DELIMITER}", "-S", "now-1day", *options]
    env = {**played.env, "TZ": zone, "SLURM_TIME_FORMAT": time_format}
    return subprocess.run(asked, env=env, capture_output=True, check=True).stdout


def imported_text(text: bytes, played: Played, cluster: Cluster) -> UsageImport:
    as_of = datetime.fromtimestamp(played.exports[-1].as_of, UTC)
    return import_usage(stream=BytesIO(text), file_name="by hand", cluster=cluster, at=timezone.now(), as_of=as_of)


def test_steps_in_a_file_are_ignored(played: Played, cluster: Cluster) -> None:
    """Without -X; the steps `.batch`, `.0`, ... are part of their job and come with its DBIndex."""
    final = played.exports[-1]
    records = read_records(final)
    done = imported_text(printed(played, f"--format={ALL_FIELDS}"), played, cluster)
    steps = len(printed(played, "--noheader", "--format=JobID").split()) - len(records)
    assert steps > 0
    assert counts(done, "accepted", *NOTHING_WRONG) == {**NOTHING_WRONG, "accepted": len(records), "ignored": steps}
    assert charged_by_account() == by_account(records, final.as_of)


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        (ALL_FIELDS, {"time_format": "standard", "zone": "Asia/Hong_Kong"}),
        ("AllocTRES,End,Start,Submit,State,Partition,Account,JobIDRaw", {}),
    ],
    ids=["times in the cluster's zone", "the fewest fields in another order"],
)
def test_other_ways_to_export_charge_the_same(
    played: Played, cluster: Cluster, fields: str, options: dict[str, str]
) -> None:
    final = played.exports[-1]
    done = imported_text(printed(played, "-X", f"--format={fields}", **options), played, cluster)
    assert counts(done, *NOTHING_WRONG) == NOTHING_WRONG
    assert charged_by_account() == by_account(read_records(final), final.as_of)


@pytest.fixture
def portal_env(committed: None) -> dict[str, str]:
    """The environment in which a command of its own process works on this test's database."""
    kept = {name: os.environ[name] for name in ("VAR_DIR", "SECRET_KEY", "HTTPS")}
    return {**kept, "DATABASE_URL": f"sqlite:///{connection.settings_dict['NAME']}"}


def test_the_collector_pipes_its_export_into_the_command(
    played: Played, cluster: Cluster, portal_env: dict[str, str], tmp_path: Path
) -> None:
    """The script of `deploy/collector/`, the real sacct and `manage.py import_usage`, as a crontab would join them."""
    imported(played.exports[-1], cluster)
    before = sums()
    command = f"{sys.executable} {ROOT}/manage.py import_usage --cluster {CLUSTER} "
    command += '--as-of "$COLLECT_AS_OF" --from "$COLLECT_FROM" --queue -'
    collector = Collector(env={**played.env, **portal_env}, state_folder=tmp_path / "collector")
    for _night in range(2):
        said = collector.hand_over({"COLLECT_COMMAND": command})
        assert "Handed over the usage" in said
    assert handed_over(known=1) == [len(read_records(played.exports[-1]))] * 2
    assert sums() == before


def test_the_collector_posts_its_export_to_the_portal(
    played: Played, cluster: Cluster, tmp_path: Path, settings: Settings
) -> None:
    """The same hand-over by HTTP, with a token, to a portal that is served."""
    settings.USAGE_FILES_DIR = tmp_path / "usage"
    _token, secret = make_token(cluster=cluster, label="login1", by=make.person(), at=timezone.now())
    token_file = tmp_path / "token"
    token_file.touch(mode=0o600)
    token_file.write_text(secret)
    portal = LiveServer("127.0.0.1")
    try:
        collector = Collector(env=played.env, state_folder=tmp_path / "collector")
        said = collector.hand_over({"COLLECT_URL": portal.url, "COLLECT_TOKEN_FILE": str(token_file)})
    finally:
        portal.stop()
    assert "Handed over the usage" in said
    records = read_records(played.exports[-1])
    assert handed_over(known=0) == [len(records)]
    assert charged_by_account() == by_account(records, played.exports[-1].as_of)


def handed_over(*, known: int) -> list[int]:
    """Let the worker import what waits: how many records each import has read that came after so many others."""
    working.work_through(clock=timezone.now, worker="test")
    done = list(UsageImport.objects.order_by("pk"))[known:]
    assert [(each.state, *counts(each, *NOTHING_WRONG).values()) for each in done] == [("done", 0, 0, 0)] * len(done)
    return [each.read for each in done]
