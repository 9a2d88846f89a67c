"""Reading what sacct prints: its header, its framing, and whatever else comes."""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocations.charging import billable_span, split_by_day
from allocations.slurm.header import FREE_TEXT, NEEDED, is_guessable
from allocations.slurm.records import OTHER_EXPORT
from allocations.slurm.sacct import BadRecord, Ignored, Record, UnreadableExport, open_export
from tests.allocations.exports import (
    HONG_KONG,
    ORDER,
    RUN,
    STRONG,
    names_of,
    only_record,
    opened,
    reasons_of,
    rows_of,
    spelled,
)

CAPTURED = Path(__file__).parents[1] / "data" / "slurm"


# ---------------------------------------------------------------- the real thing


def captured(name: str, zone: ZoneInfo) -> list[Record]:
    with (CAPTURED / name).open("rb") as file:
        export = open_export(file, zone=zone, cluster="hgxlab")
        rows = list(export)
    assert (export.read, export.bad, export.ignored) == (398, 0, 0)
    assert export.guessable_delimiter
    return [row for row in rows if isinstance(row, Record)]


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("sacct_X_delim.txt", HONG_KONG),
        ("sacct_X_epoch.txt", HONG_KONG),
        ("sacct_X_utc.txt", ZoneInfo("UTC")),
    ],
)
def test_captured_formats_tell_of_the_same_runs(name: str, zone: ZoneInfo) -> None:
    default, other = captured("sacct_X_dup.txt", HONG_KONG), captured(name, zone)
    assert [run.job_id_raw for run in default] == [run.job_id_raw for run in other]
    assert len({(run.job_id_raw, run.submit) for run in default}) == 398
    differing = [(a.job_name, b.job_name) for a, b in zip(default, other, strict=True) if a.digest != b.digest]
    # a name with the default delimiter in it is only whole where another one is used
    assert differing == ([("c", "a|b|c")] if name == "sacct_X_delim.txt" else [])


def test_captured_name_with_a_newline_stays_one_record() -> None:
    [run] = [run for run in captured("sacct_X_dup.txt", HONG_KONG) if "\n" in run.job_name]
    assert (run.job_id_raw, run.job_name, run.gpus, run.state) == (12, "line1\nline2", 1, "COMPLETED")


def test_captured_export_that_lacks_fields_is_refused_by_their_names() -> None:
    with pytest.raises(UnreadableExport) as refusal:
        opened((CAPTURED / "sacct_X_noconvert.txt").read_bytes())
    assert str(refusal.value) == (
        "The export lacks the fields JobIDRaw, Account, State, Submit, Start, End, Partition. "
        "Name them in --format and export again."
    )


# ---------------------------------------------------------------- header and delimiter


@pytest.mark.parametrize(
    ("data", "beginning"),
    [
        (b"", "The first line does not name the fields."),
        (b"7|7|lab|amy|batch\n", "The first line does not name the fields."),
        (b"\x00\xff\xfe\n", "The first line does not name the fields."),
        (("  ".join(ORDER) + "\n").encode(), "The columns are padded with spaces."),
        (("|".join(ORDER) + "|\n").encode(), "The lines end with a delimiter."),
        (spelled({}).replace(b"QOS", b"Q\0S"), "The first line does not name the fields."),
        (spelled({}, delimiter="\0"), "The first line does not name the fields."),
        (spelled(order=[*ORDER, "x" * 8_000]), "The first line does not name the fields."),
    ],
)
def test_open_export_says_what_to_do_about_a_file_that_is_none(data: bytes, beginning: str) -> None:
    with pytest.raises(UnreadableExport) as refusal:
        opened(data)
    assert str(refusal.value).startswith(beginning)


def test_needed_field_right_of_free_text_needs_a_strong_delimiter() -> None:
    order = ("JobName", *ORDER[:-1])
    with pytest.raises(UnreadableExport) as refusal:
        opened(spelled(delimiter="|", order=order))
    assert "JobIDRaw, Account, State, Submit, Start, End, AllocTRES, Partition" in str(refusal.value)
    assert only_record(spelled({}, order=order)).job_name == "train"


@pytest.mark.parametrize("delimiter", ["|", "\x1f", ";", "||", "ID", "Raw", "JobID", "0", "x" * 30, "·", STRONG])
def test_delimiter_is_what_stands_between_the_names(delimiter: str) -> None:
    export = opened(spelled({"JobName": "n"}, delimiter=delimiter))
    assert (export.delimiter, export.fields) == (delimiter, ORDER)


@pytest.mark.parametrize(
    ("delimiter", "guessable"),
    [("|", True), ("q7Zx-Lp2_vR9tK4", True), ("-" * 40, True), ("abcdefgh" * 2, True), (STRONG, False)],
)
def test_delimiter_is_guessable_when_short_or_not_varied(delimiter: str, guessable: bool) -> None:
    assert is_guessable(delimiter) is guessable


def test_fields_are_found_in_any_order_and_unknown_ones_are_passed_over() -> None:
    order = [*ORDER, "SomethingNew", "Planned", "Comment"]
    random.Random(5).shuffle(order)
    run = {"SomethingNew": "1", "Planned": "00:00:05", "Comment": "two\nlines", "JobName": "a\nb"}
    first, second = rows_of(spelled(run, {**run, "JobIDRaw": "8"}, order=order))
    assert isinstance(first, Record)
    assert isinstance(second, Record)
    assert (first.job_name, second.job_id_raw, second.job_name) == ("a\nb", 8, "a\nb")
    assert first.digest == only_record(spelled({"JobName": "a\nb"})).digest


# ---------------------------------------------------------------- framing


def test_job_named_like_a_record_stays_a_name() -> None:
    forged = "x\n" + "|".join({**RUN, "Account": "victim", "JobIDRaw": "999"}[name] for name in ORDER)
    rows = rows_of(spelled({"JobName": forged}, {"JobIDRaw": "8"}))
    assert [(row.account, row.job_name) for row in rows if isinstance(row, Record)] == [
        ("lab", forged),
        ("lab", "train"),
    ]


def test_field_right_of_free_text_is_not_believed_with_a_guessable_delimiter() -> None:
    order = [name for name in ORDER if name not in {"DBIndex", "JobName"}] + ["WCKey", "DBIndex", "JobName"]
    data = spelled({"WCKey": "k|999|x"}, delimiter="|", order=order)
    assert (only_record(data).db_index, only_record(data).account) == (None, "lab")


@pytest.mark.parametrize("delimiter", ["|", STRONG])
@pytest.mark.parametrize(
    "name", ["two\nlines", "cr\rlf", "tab\t", "\n\nthird", "a|b|c", "\u2028\x85", "", "x\n\ny", "粵語🚀", "\u202ertl"]
)
def test_name_comes_out_as_it_was(name: str, delimiter: str) -> None:
    assert names_of(spelled({"JobName": name}, {"JobName": "next"}, delimiter=delimiter)) == [name, "next"]


def test_byte_order_mark_and_windows_line_ends_change_nothing() -> None:
    data = spelled({"JobName": "two\nlines"}, {"JobIDRaw": "8"})
    plain = [row.digest for row in rows_of(data) if isinstance(row, Record)]
    changed = b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n")
    assert [row.digest for row in rows_of(changed) if isinstance(row, Record)] == plain
    assert len(plain) == 2


def test_lines_and_pieces_of_any_size_read_like_the_file() -> None:
    data = spelled(*({"JobIDRaw": str(n), "JobName": f"é\n{n}"} for n in range(1, 50)))
    whole = rows_of(data)
    for size in (1, 7, 1000):
        pieces = (data[at : at + size] for at in range(0, len(data), size))
        assert list(open_export(pieces, zone=HONG_KONG, cluster="hgx")) == whole


def test_cut_file_loses_only_its_last_line() -> None:
    data = spelled({}, {"JobIDRaw": "8", "JobName": "two\nlines"}, {"JobIDRaw": "9"})
    cut = data[: data.rindex(b"hgx01") + 2]
    first, second, broken = rows_of(cut)
    assert isinstance(second, Record)
    assert second.job_name == "two\nlines"
    assert isinstance(broken, BadRecord)
    assert (broken.line, broken.reason) == (5, "The file ends in the middle of this record.")
    assert isinstance(first, Record)


def test_damaged_record_takes_no_line_of_the_next_with_it() -> None:
    """Each ends where the other goes on; but a record can only break within a text."""
    order = [name for name in ORDER if name not in {"JobName", "NodeList"}]
    order[1:1] = ["JobName", "Comment"]
    damaged = spelled({"Comment": "c"}, order=order)[: -len(STRONG + RUN["AllocTRES"]) - 1] + b"\n"
    whole = spelled({"JobIDRaw": "8", "JobName": "two\nlines", "Comment": "c"}, order=order).split(b"\n", 1)[1]
    lost, kept = rows_of(damaged + whole)
    assert isinstance(lost, BadRecord)
    assert isinstance(kept, Record)
    assert (lost.line, kept.line, kept.job_id_raw, kept.job_name) == (2, 3, 8, "two\nlines")


def test_file_cut_inside_a_value_that_counts_is_not_believed() -> None:
    order = [name for name in ORDER if name not in {"End", "JobName"}] + ["End"]
    assert reasons_of(spelled({}, order=order)[:-2]) == ["The file ends in the middle of this record."]


def test_concatenated_exports_read_as_one() -> None:
    data = spelled({"JobName": "a\nb"}) + spelled({"JobIDRaw": "8"})
    first, header, second = rows_of(data)
    assert (isinstance(first, Record), header, isinstance(second, Record)) == (True, Ignored(4), True)


def test_runs_behind_a_broken_header_of_another_export_are_not_read_by_our_columns() -> None:
    """Damage broke that header over two lines; what stands behind it may be in its columns, so it is put aside."""
    weak = {"delimiter": "|"}
    ours, behind = (spelled({"JobIDRaw": number, "JobID": number}, **weak) for number in ("1", "2"))
    other = "|".join(name for name in reversed(ORDER) if name != "AllocTRES") + "|pad|tokens\nlimit|AllocTRES\n"
    rows = rows_of(ours + other.encode() + behind.split(b"\n", 1)[1])
    assert [type(row) for row in rows] == [Record, BadRecord, BadRecord]
    assert {row.reason for row in rows if isinstance(row, BadRecord)} == {OTHER_EXPORT}


@pytest.mark.parametrize(
    ("behind", "reasons"), [(b"\n", []), (b"torn\n", ["The line has fewer fields than the header names."])]
)
def test_line_behind_a_repeated_header_is_not_taken_for_another_export(behind: bytes, reasons: list[str]) -> None:
    data = spelled({}) + spelled() + behind + spelled({"JobIDRaw": "8"}).split(b"\n", 1)[1]
    assert [row.job_id_raw for row in rows_of(data) if isinstance(row, Record)] == [7, 8]
    assert reasons_of(data) == reasons


def test_last_line_without_its_newline_loses_its_carriage_return() -> None:
    assert names_of(spelled({}).replace(b"\n", b"\r\n").removesuffix(b"\n")) == ["train"]


@pytest.mark.parametrize("delimiter", ["|", STRONG])
def test_export_with_other_fields_inside_is_not_read_by_our_columns(delimiter: str) -> None:
    swapped = ["Account" if name == "User" else "User" if name == "Account" else name for name in ORDER]
    shorter = [name for name in ORDER if name not in {"QOS", "NodeList"}]
    for order in (swapped, shorter):
        data = spelled({}, delimiter=delimiter) + spelled({}, {}, delimiter=delimiter, order=order)
        data += spelled({"JobIDRaw": "8"}, delimiter=delimiter)
        rows = rows_of(data)
        assert [row.job_id_raw for row in rows if isinstance(row, Record)] == [7, 8]
        assert [row.reason[:41] for row in rows if isinstance(row, BadRecord)] == [
            "Another export with other fields or anoth"
        ] * 3


def test_export_with_another_delimiter_inside_does_not_end_up_in_a_name() -> None:
    data = spelled({}) + spelled({}, {}, delimiter="|") + spelled({"JobIDRaw": "8"}).split(b"\n", 1)[1]
    rows = rows_of(data)
    assert [row.job_name for row in rows if isinstance(row, Record)] == ["train", "train"]
    assert [row.line for row in rows if isinstance(row, BadRecord)] == [3]


def test_lines_without_a_place_are_bad_or_blank() -> None:
    order = [name for name in ORDER if name != "JobName"]
    good = spelled({}, order=order)
    assert reasons_of(good + b"left over\n") == ["The line has fewer fields than the header names."]
    assert reasons_of(good + good.split(b"\n")[1] + STRONG.encode() + b"more\n") == [
        "The line has more fields than the header names."
    ]
    assert rows_of(good + b"\n")[1] == Ignored(3)
    early = spelled({}).replace(b"\n", b"\nbefore any record\n", 1)
    assert reasons_of(early) == ["The line has fewer fields than the header names."]


# ---------------------------------------------------------------- whatever comes


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


@settings(deadline=None)
@given(
    names=st.lists(texts, min_size=1, max_size=6), comments=st.lists(texts, min_size=6, max_size=6), seed=st.integers()
)
def test_any_text_comes_back_in_any_order_of_the_fields(names: list[str], comments: list[str], seed: int) -> None:
    order = [*ORDER, "Comment"]
    random.Random(seed).shuffle(order)
    # two free texts that touch, or one at the front, could not tell whose newline it is
    while order[0] in FREE_TEXT:
        order.append(order.pop(0))
    runs = [{"JobIDRaw": str(n + 1), "JobName": name, "Comment": comments[n]} for n, name in enumerate(names)]
    rows = rows_of(spelled(*runs, order=order))
    assert [(row.job_id_raw, row.job_name) for row in rows if isinstance(row, Record)] == [
        (n + 1, name.rstrip("\n")) for n, name in enumerate(names)
    ]


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(min_value=0), delimiter=st.sampled_from(["|", STRONG]), cuts=st.integers(1, 6))
def test_damaged_bytes_never_stop_the_reading(seed: int, delimiter: str, cuts: int) -> None:
    chance = random.Random(seed)
    data = bytearray(spelled(*({"JobIDRaw": str(n), "JobName": f"é|{n}\nx"} for n in range(1, 8)), delimiter=delimiter))
    header = data.index(b"\n") + 1
    for _ in range(cuts):
        at = chance.randrange(header, len(data))
        data[at : at + chance.randrange(3)] = chance.choice(
            [b"", b"\n", b"\0", b"\xff", b"\r\n", delimiter.encode(), b"\xf0\x9f", data[header:at], chance.randbytes(4)]
        )
    assert rows_of(bytes(data)) != []


def test_generator_of_the_lab_is_charged_as_its_truth_says(tmp_path: Path) -> None:
    lab = Path(os.environ.get("SLURM_LAB") or Path(__file__).parents[3] / "shared" / "slurm")
    if not (lab / "gen_sacct.py").exists():
        pytest.skip("the lab's generator gen_sacct.py is not here (SLURM_LAB names its folder)")
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    export_file, truth_file = tmp_path / "sacct.txt", tmp_path / "truth.json"
    words = f"--rows 5000 --months 2 --steps --awkward 0.02 --seed {seed} --out {export_file} --truth {truth_file}"
    subprocess.run([sys.executable, lab / "gen_sacct.py", *words.split()], check=True, capture_output=True)
    truth = json.loads(truth_file.read_text())
    as_of = int(datetime.fromisoformat(truth["export_at"]).replace(tzinfo=HONG_KONG).timestamp())
    charged: Counter[tuple[str, date]] = Counter()
    with export_file.open("rb") as file:
        export = open_export(file, zone=HONG_KONG, cluster="hgxlab")
        for run in export:
            if isinstance(run, Record):
                span = billable_span(submit=run.submit, start=run.start, end=run.end, as_of=as_of, pending=run.pending)
                for day, seconds in split_by_day(*span, HONG_KONG) if span else ():
                    charged[run.account, day] += seconds * run.gpus
    assert (export.read, export.bad) == (truth["rows"], 0)
    assert {f"{account} {day}": seconds for (account, day), seconds in charged.items() if seconds} == truth[
        "charged_gpu_seconds_by_account_and_day"
    ]


def test_needed_fields_are_each_asked_for() -> None:
    for name in NEEDED:
        with pytest.raises(UnreadableExport, match=f"lacks the fields {name}[.]"):
            opened(spelled({}, order=[other for other in ORDER if other != name]))
