"""`deploy/collector/collect-usage` run for real, with a stand-in for sacct, against a portal that is really served."""

import fcntl
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.utils import timezone
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from allocations.importing import working
from allocations.importing.tokens import make_token, revoke_token
from allocations.models import ImportToken, JobRun, UsageImport
from centre.models import Cluster
from tests import make
from tests.allocations.books import charged_by_account, small_centre

pytestmark = pytest.mark.page

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "collector" / "collect-usage"
CAPTURED = Path(__file__).resolve().parent.parent / "data" / "slurm" / "sacct_X_epoch.txt"
DAY = 86_400

# Prints, as sacct would, the rows of a file that ended in the window or go on; and notes how it was called.
SACCT = """#!/usr/bin/env python3
import calendar, json, os, sys, time
told = dict(word.partition("=")[::2] for word in sys.argv[1:])
begin = sys.argv[sys.argv.index("-S") + 1]
called = {"options": sys.argv[1:], "times": os.environ.get("SLURM_TIME_FORMAT"), "zone": os.environ.get("TZ")}
called["begin"] = calendar.timegm(time.strptime(begin, "%Y-%m-%dT%H:%M:%S"))
here = os.path.dirname(__file__)
with open(here + "/called", "a") as file:
    file.write(json.dumps(called) + "\\n")
fields, rows = json.load(open(here + "/rows"))
wanted = told["--format"].split(",")
print(told["--delimiter"].join(wanted))
for row in rows:
    run = dict(zip(fields, row))
    if not run["End"].isdigit() or int(run["End"]) >= called["begin"]:
        print(told["--delimiter"].join(run[name] for name in wanted))
"""
# Notes how it was called; with the file “deaf” beside it, once, it does not hear the answer that was given.
CURL = """#!/bin/sh
printf '%s\\n' "$*" >>"${0%/*}/curled"
{real} "$@"
code=$?
if [ -e "${0%/*}/deaf" ]; then rm "${0%/*}/deaf"; exit 52; fi
exit $code
"""


class Collector:
    """A machine of the cluster: the script, its settings and its programs, in a folder of its own."""

    def __init__(self, folder: Path, *, cluster: Cluster, url: str) -> None:
        self.folder, self.cluster = folder, cluster
        self.bin, self.state = folder / "bin", folder / "state"
        self.bin.mkdir()
        self.program("sacct", SACCT)
        curl = shutil.which("curl")
        assert curl is not None, "curl is not installed"
        self.program("curl", CURL.replace("{real}", curl))
        self.token, self.secret = make_token(cluster=cluster, label="login1", by=make.person(), at=timezone.now())
        token_file = folder / "token"
        token_file.write_text(self.secret + "\n")
        token_file.chmod(0o600)
        self.settings = {"COLLECT_URL": url, "COLLECT_TOKEN_FILE": str(token_file), "COLLECT_WAIT": "0"}
        self.settings |= {"COLLECT_STATE_DIR": str(self.state), "COLLECT_ATTEMPTS": "3"}
        self.tell(("JobIDRaw", "End"), [])

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def tell(self, fields: tuple[str, ...] | list[str], rows: list[list[str]]) -> None:
        """What sacct knows from now on."""
        (self.bin / "rows").write_text(json.dumps([fields, rows]))

    def run(self, *arguments: str, **settings: str) -> tuple[int, str]:
        """The exit code and what was said."""
        file = self.folder / "settings.env"
        file.write_text("".join(f"{name}='{value}'\n" for name, value in {**self.settings, **settings}.items()))
        done = subprocess.run(
            [SCRIPT, *arguments],
            env={"PATH": f"{self.bin}:{os.environ['PATH']}", "COLLECT_SETTINGS": str(file), "HOME": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not (self.state / "work").exists()
        assert self.secret not in done.stdout + done.stderr
        return done.returncode, done.stderr

    def called(self) -> list[dict[str, object]]:
        """How sacct was called so far."""
        return [json.loads(line) for line in (self.bin / "called").read_text().splitlines()]

    @property
    def handed_over_until(self) -> int:
        return int((self.state / "handed-over-until").read_text())


def captured_rows() -> tuple[list[str], list[list[str]], dict[str, int]]:
    """What a real sacct printed, moved to the last hours, and the accounts in it; names with delimiters left out."""
    fields, *lines = (line.split("|") for line in CAPTURED.read_text(encoding="utf-8").split("\n"))
    rows = [parts for parts in lines if len(parts) == len(fields) and parts[0] and "." not in parts[0]]
    instants = [fields.index(name) for name in ("Submit", "Eligible", "Start", "End")]
    latest = max(int(row[at]) for row in rows for at in instants if row[at].isdigit())
    later = int(timezone.now().timestamp()) - 3600 - latest
    for row in rows:
        for at in instants:
            if row[at].isdigit():
                row[at] = str(int(row[at]) + later)
    accounts: dict[str, int] = {}
    gpus = fields.index("AllocTRES")
    for row in rows:
        start, end, submit = (row[fields.index(name)] for name in ("Start", "End", "Submit"))
        count = next((int(part[9:]) for part in row[gpus].split(",") if part.startswith("gres/gpu=")), 0)
        if start.isdigit() and end.isdigit():
            seconds = count * max(0, int(end) - max(int(start), int(submit)))
            account = row[fields.index("Account")]
            accounts[account] = accounts.get(account, 0) + seconds
    return fields, rows, {account: seconds for account, seconds in accounts.items() if seconds}


@pytest.fixture
def portal(committed: None, tmp_path: Path, settings: Settings) -> Iterator[str]:
    """The portal, served from a thread on a free port; the value is its address."""
    settings.USAGE_FILES_DIR = tmp_path / "usage"
    running = LiveServer("127.0.0.1")
    yield running.url
    running.stop()


@pytest.fixture
def collector(portal: str, tmp_path: Path) -> Collector:
    return Collector(tmp_path, cluster=small_centre("hgxlab"), url=portal)


def import_what_waits() -> list[UsageImport]:
    working.work_through(clock=timezone.now, worker="test")
    return list(UsageImport.objects.order_by("pk"))


RUN = ("JobIDRaw", "JobID", "DBIndex", "Cluster", "Account", "User", "Partition", "QOS", "State", "ExitCode", "Submit")
FIELDS = (*RUN, "Eligible", "Start", "End", "TimelimitRaw", "AllocTRES", "NodeList", "JobName")


def run(number: int, *, ended: datetime, name: str = "train") -> list[str]:
    """One GPU for an hour."""
    end = int(ended.timestamp())
    begin = str(end - 3600)
    what = [str(number), str(number), str(number), "hgxlab", "lab", "amy", "batch", "normal", "COMPLETED", "0:0"]
    return [*what, begin, begin, begin, str(end), "60", "gres/gpu:h800=1,gres/gpu=1", "hgx01", name]


def test_captured_usage_is_handed_over_and_charged_to_the_second(portal: str, tmp_path: Path) -> None:
    fields, rows, truth = captured_rows()
    assert len(truth) > 5
    collector = Collector(tmp_path, cluster=small_centre("hgxlab", accounts=truth), url=portal)
    finished = [row for row in rows if row[fields.index("End")].isdigit()]
    collector.tell(fields, finished)
    before = int(timezone.now().timestamp())

    code, said = collector.run()

    assert (code, "Handed over the usage from" in said) == (0, True), said
    [done] = import_what_waits()
    assert (done.state, done.source, done.token, done.by) == ("done", "collector", collector.token, None)
    assert (done.quarantined, done.accepted, done.warning) == (0, len(finished), "")
    assert charged_by_account() == truth
    assert done.as_of is not None
    assert done.covers_from is not None
    assert before <= done.as_of.timestamp() <= timezone.now().timestamp()
    assert collector.handed_over_until == int(done.as_of.timestamp())
    [call] = collector.called()
    assert abs(int(str(call["begin"])) - (before - 35 * DAY)) < 30
    assert int(done.covers_from.timestamp()) == call["begin"]


def test_sacct_is_asked_safely_with_a_delimiter_that_is_drawn_anew(collector: Collector) -> None:
    assert (collector.run()[0], collector.run()[0]) == (0, 0)
    first, second = collector.called()
    assert (first["times"], first["zone"]) == ("%s", "UTC")
    assert first["options"][:4] == ["-a", "-X", "-P", "--duplicates"]  # type: ignore[index]
    delimiters = {str(call["options"][4]).partition("=")[2] for call in (first, second)}  # type: ignore[index]
    assert [len(delimiter) >= 24 for delimiter in delimiters] == [True, True]
    assert "Bearer" not in (collector.bin / "curled").read_text()
    assert collector.secret[-20:] not in (collector.bin / "curled").read_text()


def test_missed_nights_are_made_up_for(collector: Collector) -> None:
    now = timezone.now()
    collector.state.mkdir()
    last = int((now - timedelta(days=20)).timestamp())
    (collector.state / "handed-over-until").write_text(f"{last}\n")
    collector.tell(FIELDS, [run(number, ended=now - timedelta(days=number, hours=1)) for number in range(1, 31)])
    assert collector.run()[0] == 0
    [done] = import_what_waits()
    assert (collector.called()[0]["begin"], done.accepted) == (last - 3 * DAY, 22)
    done_until = collector.handed_over_until
    assert collector.run()[0] == 0
    assert collector.called()[1]["begin"] == done_until - 3 * DAY
    assert import_what_waits()[-1].accepted == 0


def test_longer_window_is_asked_for_by_days_and_leaves_no_gap_behind(collector: Collector) -> None:
    now = timezone.now()
    collector.state.mkdir()
    last = int((now - timedelta(days=20)).timestamp())
    (collector.state / "handed-over-until").write_text(f"{last}\n")
    collector.tell(FIELDS, [run(1, ended=now - timedelta(days=80))])
    assert collector.run("--days", "2")[0] == 0
    assert collector.handed_over_until == last
    assert collector.run("--days", "90")[0] == 0
    assert collector.handed_over_until > last
    assert [done.accepted for done in import_what_waits()] == [0, 1]


def test_portal_that_is_away_is_tried_again_and_loses_nothing(collector: Collector) -> None:
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        collector.tell(FIELDS, [run(1, ended=timezone.now() - timedelta(days=30))])
        code, said = collector.run(COLLECT_URL=f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert (code, said.count("could not be reached"), "Nothing is lost" in said) == (4, 3, True)
    assert not (collector.state / "handed-over-until").exists()
    assert collector.run()[0] == 0
    assert [done.accepted for done in import_what_waits()] == [1]


def test_second_try_after_a_lost_answer_acts_once(collector: Collector) -> None:
    collector.tell(FIELDS, [run(1, ended=timezone.now() - timedelta(days=1))])
    (collector.bin / "deaf").touch()
    code, said = collector.run()
    assert (code, "Trying again in 0 seconds (1 of 3 tries)." in said) == (0, True), said
    [done] = import_what_waits()
    assert (done.accepted, charged_by_account()) == (1, {"lab": 3600})


def test_name_like_a_record_is_a_name(collector: Collector) -> None:
    ended = timezone.now() - timedelta(days=1)
    forged = "x\n" + "|".join(run(2, ended=ended)) + "\n" + "~".join(run(3, ended=ended))
    collector.tell(FIELDS, [run(1, ended=ended, name=forged)])
    assert collector.run()[0] == 0
    [done] = import_what_waits()
    assert (done.accepted, done.quarantined, JobRun.objects.get().job_id) == (1, 0, "1")


def test_revoked_token_needs_somebody(collector: Collector) -> None:
    revoke_token(token=collector.token, by=make.person(), at=timezone.now(), reason="-")
    code, said = collector.run()
    assert (code, "refused the export (401)" in said, "a token that was not revoked" in said) == (2, True, True)
    assert not (collector.state / "handed-over-until").exists()
    assert UsageImport.objects.count() == 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("#!/bin/sh\necho 'sacct: error: slurmdbd is away' >&2\nexit 1\n", "sacct failed"),
        ("#!/bin/sh\necho 'JobIDRaw|Account'\necho 'sacct: error: only a part' >&2\n", "only a part"),
        ("#!/bin/sh\necho 'Welcome to the cluster'\n", "no first line with the names"),
        ("#!/bin/sh\n", "no first line with the names"),
    ],
)
def test_sacct_that_fails_hands_nothing_over(collector: Collector, text: str, sentence: str) -> None:
    collector.program("sacct", text)
    code, said = collector.run()
    assert (code, sentence in said) == (3, True), said
    assert UsageImport.objects.count() == 0
    assert not (collector.state / "handed-over-until").exists()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"COLLECT_URL": ""}, "Set either COLLECT_URL (the portal's address) or COLLECT_COMMAND"),
        ({"COLLECT_COMMAND": "cat"}, "Set either COLLECT_URL (the portal's address) or COLLECT_COMMAND"),
        ({"COLLECT_URL": "http://portal.example.org"}, "write the portal's address with https://"),
        ({"COLLECT_OVERLAP_DAYS": "three"}, "COLLECT_OVERLAP_DAYS is 'three'; write a whole number from 0 to 3650."),
        ({"COLLECT_SACCT": "no-such-sacct"}, "'no-such-sacct' is not installed"),
        ({"COLLECT_TOKEN_FILE": "/no/such/token"}, "Make one in the portal"),
    ],
)
def test_wrong_setting_is_named(collector: Collector, wrong: dict[str, str], sentence: str) -> None:
    code, said = collector.run(**wrong)
    assert (code, sentence in said) == (2, True), said


def test_token_that_others_may_read_is_refused(collector: Collector) -> None:
    (collector.folder / "token").chmod(0o640)
    code, said = collector.run()
    assert (code, "chmod 600" in said) == (2, True)
    assert ImportToken.objects.get().last_used_at is None


def test_instant_that_cannot_be_is_refused(collector: Collector) -> None:
    collector.state.mkdir()
    for text in ("", "yesterday", str(int(timezone.now().timestamp()) + DAY)):
        (collector.state / "handed-over-until").write_text(text)
        assert collector.run()[0] == 2
    assert UsageImport.objects.count() == 0


def test_two_never_run_at_once(collector: Collector) -> None:
    collector.state.mkdir()
    with (collector.state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert collector.run()[0] == 5
    assert collector.run()[0] == 0


def test_usage_is_handed_over_by_pipe(collector: Collector) -> None:
    ended = timezone.now() - timedelta(days=1)
    collector.tell(FIELDS, [run(1, ended=ended, name="a\nb")])
    file, window = collector.folder / "export.txt", collector.folder / "window"
    command = f'cat > {file}; echo "$COLLECT_AS_OF $COLLECT_FROM" > {window}'
    assert collector.run(COLLECT_URL="", COLLECT_COMMAND=command)[0] == 0
    as_of, begins = window.read_text().split()
    assert collector.handed_over_until == int(as_of)
    call_command(
        *("import_usage", "--cluster", "hgxlab", "--as-of", as_of, "--from", begins, "--queue", str(file)),
        stdout=StringIO(),
    )
    [done] = import_what_waits()
    assert (done.accepted, done.quarantined, done.source) == (1, 0, "command")
    assert done.covers_from == datetime.fromtimestamp(int(begins), UTC)


@pytest.mark.parametrize(("exits", "code", "tries"), [(1, 4, 3), (2, 2, 1), (255, 4, 3)])
def test_command_that_fails_is_tried_again_unless_it_refuses(
    collector: Collector, exits: int, code: int, tries: int
) -> None:
    count = collector.folder / "count"
    command = f"cat > {collector.folder}/export.txt; echo once >> {count}; exit {exits}"
    assert collector.run(COLLECT_URL="", COLLECT_COMMAND=command)[0] == code
    assert len(count.read_text().splitlines()) == tries
    assert not (collector.state / "handed-over-until").exists()
