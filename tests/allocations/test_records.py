"""The values of one sacct record, and everything that can be wrong with them."""

from zoneinfo import ZoneInfo

import pytest

from allocations.slurm.sacct import BadRecord, Ignored, Record
from tests.allocations.exports import (
    ORDER,
    RUN,
    STRONG,
    TEN_O_CLOCK,
    only_record,
    opened,
    reasons_of,
    rows_of,
    spelled,
)


def test_record_holds_every_column() -> None:
    assert only_record(spelled({"JobName": "train", "State": "CANCELLED by 21001"}))._replace(digest="") == Record(
        line=2,
        db_index="71",
        job_id_raw=7,
        job_id="7",
        account="lab",
        user="amy",
        partition="batch",
        qos="normal",
        state="CANCELLED",
        exit_code="0:0",
        submit=TEN_O_CLOCK,
        eligible=TEN_O_CLOCK,
        start=TEN_O_CLOCK + 5,
        end=TEN_O_CLOCK + 7205,
        time_limit_minutes=180,
        alloc_tres=RUN["AllocTRES"],
        gpus=8,
        node_list="hgx01",
        job_name="train",
        finished=True,
        pending=False,
        digest="",
    )


def test_digest_is_the_same_for_every_spelling_and_another_for_every_content() -> None:
    digest = only_record(spelled({})).digest
    epoch = {
        "Submit": str(TEN_O_CLOCK),
        "Eligible": str(TEN_O_CLOCK),
        "Start": str(TEN_O_CLOCK + 5),
        "End": str(TEN_O_CLOCK + 7205),
        "ElapsedRaw": "1",
    }
    utc = {name: RUN[name].replace("T1", "T0").replace("T00", "T02") for name in ("Submit", "Eligible", "Start")}
    utc |= {"End": "2026-03-04T04:00:05"}
    offset = {name: RUN[name] + "+08:00" for name in ("Submit", "Eligible", "Start", "End")}
    assert only_record(spelled(epoch)).digest == digest
    assert only_record(spelled(utc), ZoneInfo("UTC")).digest == digest
    assert only_record(spelled(offset), ZoneInfo("UTC")).digest == digest
    assert only_record(spelled({}, delimiter="|", order=(*ORDER[5:-1], *ORDER[:5], "JobName"))).digest == digest
    changes = [
        ("JobIDRaw", "8"),
        ("JobID", "7_1"),
        ("DBIndex", "72"),
        ("Account", "lab2"),
        ("User", "ben"),
        ("Partition", "prio"),
        ("QOS", "high"),
        ("State", "FAILED"),
        ("ExitCode", "1:0"),
        ("Submit", "2026-03-04T10:00:01"),
        ("Eligible", "Unknown"),
        ("Start", "2026-03-04T10:00:06"),
        ("End", "Unknown"),
        ("TimelimitRaw", "181"),
        ("AllocTRES", "gres/gpu=8"),
        ("NodeList", "hgx02"),
        ("JobName", "train2"),
    ]
    digests = {only_record(spelled({name: value})).digest for name, value in changes} | {digest}
    assert len(digests) == len(changes) + 1


@pytest.mark.parametrize(
    ("state", "end", "finished", "pending"),
    [
        ("COMPLETED", "2026-03-04T12:00:05", True, False),
        ("REQUEUED", "2026-03-04T12:00:05", True, False),
        ("RESIZING", "2026-03-04T12:00:05", True, False),
        ("RUNNING", "Unknown", False, False),
        ("RUNNING", "2026-03-04T12:00:05", False, False),  # clipped by -T
        ("COMPLETING", "2026-03-04T12:00:05", False, False),
        ("SUSPENDED", "Unknown", False, False),
        ("PENDING", "2026-03-04T12:00:05", False, True),
        ("COMPLETED", "Unknown", False, False),
    ],
)
def test_finished_and_pending_follow_state_and_end(state: str, end: str, finished: bool, pending: bool) -> None:
    run = only_record(spelled({"State": state, "End": end}))
    assert (run.finished, run.pending) == (finished, pending)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Cluster": "other"}, "The record belongs to another cluster."),
        ({"JobIDRaw": "seven"}, "The raw job id is not a whole number."),
        ({"JobIDRaw": "0"}, "The raw job id is not a whole number."),
        ({"DBIndex": "-1"}, "The database index is not a whole number."),
        ({"DBIndex": "1" * 21}, "The database index is not a whole number."),
        ({"Submit": "Unknown"}, "The submit time is missing."),
        ({"Submit": "soon"}, "Submit, Start or End is not a time that can be read."),
        ({"Start": "2026-13-01T00:00:00"}, "Submit, Start or End is not a time that can be read."),
        ({"End": "2026-03-04T25:00:00"}, "Submit, Start or End is not a time that can be read."),
        ({"End": "12:00:05"}, "Submit, Start or End is not a time that can be read."),
        ({"Start": "1_772_589_605"}, "Submit, Start or End is not a time that can be read."),
        ({"Submit": "1999-12-31T00:00:00"}, "Submit, Start or End lies before the year 2000 or after 2199."),
        ({"End": "2400-01-01T00:00:00"}, "Submit, Start or End lies before the year 2000 or after 2199."),
        ({"End": "0"}, "Submit, Start or End lies before the year 2000 or after 2199."),
        ({"End": "2026-03-04T10:00:04"}, "The run ends before it starts."),
        ({"AllocTRES": "gres/gpu=-8"}, "The number of GPUs is negative."),
        ({"AllocTRES": "gres/gpu=8G"}, "The number of GPUs is not a plain whole number."),
        ({"AllocTRES": "x" * 4001}, "The account, user, partition, state or AllocTRES is too long."),
        ({"Account": ""}, "The account is empty."),
        ({"Account": "a" * 129}, "The account, user, partition, state or AllocTRES is too long."),
        ({"User": "a" * 129}, "The account, user, partition, state or AllocTRES is too long."),
        ({"Partition": "a" * 129}, "The account, user, partition, state or AllocTRES is too long."),
        ({"State": " "}, "The state is empty."),
        ({"Account": "l\0b"}, "A needed field holds NUL or bytes that are not UTF-8."),
    ],
)
def test_bad_record_says_why_and_keeps_its_text(change: dict[str, str], reason: str) -> None:
    good, wrong, after = rows_of(spelled({}, {"JobIDRaw": "8", **change}, {"JobIDRaw": "9"}))
    assert isinstance(good, Record)
    assert isinstance(after, Record)
    assert isinstance(wrong, BadRecord)
    assert (wrong.line, wrong.reason) == (3, reason)
    assert wrong.text == STRONG.join({**RUN, "JobIDRaw": "8", **change}[name] for name in ORDER).replace("\0", "␀")


def test_what_never_started_may_end_at_any_time() -> None:
    died = {"State": "CANCELLED", "Start": "None", "AllocTRES": "", "NodeList": "None assigned"}
    assert only_record(spelled(died)).start is None
    assert only_record(spelled({"AllocTRES": "", "End": "2026-03-04T09:00:00"})).gpus == 0


def test_steps_are_ignored() -> None:
    rows = rows_of(spelled({}, {"JobIDRaw": "7.batch", "JobID": "7.batch"}, {"JobIDRaw": "66.0", "JobID": "65+1.0"}))
    assert rows[1:] == [Ignored(3), Ignored(4)]


def test_names_are_made_storable() -> None:
    assert only_record(spelled({"JobName": "x" * 1001})).job_name == "x" * 999 + "…"
    assert only_record(spelled({"ExitCode": "x" * 33})).exit_code == "x" * 31 + "…"
    assert only_record(spelled({"JobName": "a\0b"})).job_name == "a␀b"
    assert only_record(spelled({"JobName": "a?b"}).replace(b"a?b", b"a\xffb")).job_name == "a\ufffdb"
    assert (
        only_record(spelled({"JobName": "a?b"}).replace(b"a?b", b"a\xed\xa0\x80b")).job_name == "a\ufffd\ufffd\ufffdb"
    )
    assert reasons_of(spelled({"Account": "l?b"}).replace(b"l?b", b"l\xffb")) == [
        "A needed field holds NUL or bytes that are not UTF-8."
    ]


def test_odd_but_harmless_values_are_taken_as_unknown() -> None:
    run = only_record(spelled({"DBIndex": "0", "TimelimitRaw": "UNLIMITED", "Eligible": "Unknown"}))
    assert (run.db_index, run.time_limit_minutes, run.eligible) == (None, None, None)
    assert only_record(spelled({"DBIndex": "18446744073709551615"})).db_index == "18446744073709551615"


def test_latest_is_the_latest_instant_of_the_good_records() -> None:
    later = {"Eligible": "2026-12-01T00:00:00", "End": "2026-03-05T10:00:00"}
    export = opened(spelled({}, later, {"End": "2026-06-01T00:00:00", "Account": ""}))
    assert export.latest is None
    assert len(list(export)) == 3
    assert export.latest == TEN_O_CLOCK + 86_400


def test_times_on_the_day_that_clocks_change_are_read_in_the_zone() -> None:
    london = ZoneInfo("Europe/London")
    run = only_record(
        spelled({"Submit": "2026-03-29T00:30:00", "Start": "2026-03-29T02:30:00", "End": "2026-03-30T00:00:00"}), london
    )
    assert run.start is not None
    assert run.end is not None
    assert (run.start - run.submit, run.end - run.start) == (3600, 21 * 3600 + 1800)
