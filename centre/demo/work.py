"""What the demo's projects ran, and the exports in which the portal got to know of it.

One history is invented for the whole year; each export shows the part of it that `sacct` would have told at its
instant: what had ended by then with its end, what ran or waited without.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from allocations.slurm.history import FIELDS, AccountPlan, History, Style
from centre.demo.content import BOOKS_BEGIN, H800, L40S, TEAMS

UNKNOWN: Final = "Unknown"
DAY: Final = 86_400  # seconds
RUN_AWAY: Final = frozenset(("acceptance", "harbourlight-render"))
MOST_RUN_AWAY_GPUS: Final = 8
AT: Final = {name: place for place, name in enumerate(FIELDS)}
_SUBMIT, _START, _END, _STATE = AT["Submit"], AT["Start"], AT["End"], AT["State"]
WINDOW: Final = 14
"""Days that are planned as one, so that use stays near its mean."""


@dataclass(frozen=True)
class WorkPlan:
    """What one Slurm account keeps busy on one pool: the mean number of GPUs between two days, both included."""

    account: str
    pool: str
    gpus: int
    first: int
    last: int = 0
    style: Style = "mixed"
    users: tuple[str, ...] = ()


WORK: Final = (
    WorkPlan("canto-audio", H800, 178, -351, style="pretraining"),
    WorkPlan("canto-audio", L40S, 20, -351, style="inference"),
    WorkPlan("civic-scribe", H800, 126, -338, style="finetuning"),
    WorkPlan("civic-scribe", L40S, 50, -338, style="inference"),
    WorkPlan("endo-vision", H800, 185, -300),
    WorkPlan("med-vertical", H800, 208, -262, style="finetuning"),
    WorkPlan("rainstorm", H800, 170, -226, style="pretraining"),
    WorkPlan("gene-fold", H800, 56, -205),
    WorkPlan("trilingual-llm", H800, 262, -190, style="pretraining"),
    WorkPlan("trilingual-llm-paid", H800, 20, -60, style="evaluation"),
    WorkPlan("egret-translate", H800, 38, -176, style="finetuning"),
    WorkPlan("warehouse-arm", H800, 184, -158),
    WorkPlan("maths-tutor", L40S, 6, -205, -120, style="evaluation"),
    WorkPlan("maths-tutor", H800, 176, -118, style="finetuning"),
    WorkPlan("maths-tutor", L40S, 22, -118, style="inference"),
    WorkPlan("acceptance", H800, 28, -365, style="evaluation"),
    WorkPlan("acceptance", L40S, 8, -365, style="evaluation"),
    WorkPlan("harbourlight-render", H800, 78, -280),
    WorkPlan("harbourlight-render", L40S, 68, -280, style="inference"),
    WorkPlan("route-planner", L40S, 40, -240, -21, style="finetuning"),
    WorkPlan("subtitle-trial", L40S, 5, -230, -139, style="inference"),
    WorkPlan("claims-reader", H800, 50, -130),
    WorkPlan("kapok-reading", L40S, 4, -52, style="evaluation"),
    WorkPlan("tide-survey", L40S, 6, -40, style="evaluation"),
    # no allocation names this account: its runs stay unmatched
    WorkPlan("sandbox", L40S, 2, -75, style="evaluation", users=("hpc-trainee", "courseops")),
)
_USERS: Final = {team.code: team.cluster_users for team in TEAMS}


def account_plans(today: date, *, seed: int) -> list[AccountPlan]:
    """The work in windows of some weeks, a slow one at the beginning; windows of two accounts seldom end together."""
    chance = random.Random(seed)
    plans = []
    for work in WORK:
        first, begins = work.first, True
        length = WINDOW - chance.randrange(WINDOW // 2)
        while first <= work.last:
            last = first + length - 1
            if work.last - last < WINDOW // 2:
                last = work.last
            share = 60 if begins else chance.randrange(96, 105)
            plans.append(
                AccountPlan(
                    account=work.account,
                    users=work.users or _USERS[work.account.removesuffix("-paid")],
                    partition=work.pool,
                    gpu_type=work.pool,
                    gpu_hours=work.gpus * 24 * (last - first + 1) * share // 100,
                    first_on=today + timedelta(days=first),
                    last_on=today + timedelta(days=last if last < 0 else WINDOW),
                    style=work.style,
                    most_gpus=largest_run(work),
                )
            )
            first, begins, length = last + 1, False, WINDOW
    return plans


def largest_run(work: WorkPlan) -> int:
    """GPUs of the largest run: teams with few GPUs to use do not start runs over many nodes."""
    if work.pool == L40S:
        return 16
    return 128 if work.gpus >= 150 else 64 if work.gpus >= 70 else 32


# ---------------------------------------------------------------------------------------------- exports


def export_days() -> Iterator[int]:
    """On which days before today an export was made: every four weeks, and in the last weeks more often."""
    yield from range(BOOKS_BEGIN + 30, -21, 28)
    yield from (-21, -14, -7, -3, -2, -1)


def rows_of(history: History) -> list[list[str]]:
    """The records of a history, cell by cell; a job's name, which comes last, may hold line breaks."""
    parts = history.text.decode().split(history.delimiter)
    per_record = len(FIELDS) - 1
    following = parts[per_record].partition("\n")[2]
    rows = []
    for place in range(per_record, len(parts) - 1, per_record):
        name, _, after = parts[place + per_record].rpartition("\n")
        rows.append([following, *parts[place + 1 : place + per_record], name])
        following = after
    return rows


def export_text(rows: list[list[str]], *, delimiter: str, since: int, at: int, damaged: bool = False) -> bytes:
    """What an export made at `at` tells of what had not ended before `since` (epoch seconds)."""
    seen = [row for row in (as_seen(row, at) for row in rows) if row is not None and not _over(row, since)]
    lines = [delimiter.join(FIELDS), *(delimiter.join(row) for row in seen)]
    if damaged:
        lines += [delimiter.join(cells) for cells in _unreadable(seen)]
    return ("\n".join(lines) + "\n").encode()


def as_seen(row: list[str], at: int) -> list[str] | None:
    """A record as an export at that instant shows it; None for what was not submitted yet."""
    if int(row[_SUBMIT]) > at:
        return None
    if row[_END] != UNKNOWN and int(row[_END]) <= at:
        return row
    seen = list(row)
    seen[_END], seen[AT["ExitCode"]], seen[AT["Suspended"]] = UNKNOWN, "0:0", "00:00:00"
    if row[_START] == UNKNOWN or int(row[_START]) > at:
        seen[_START], seen[_STATE], seen[AT["ElapsedRaw"]] = UNKNOWN, "PENDING", "0"
        seen[AT["AllocTRES"]], seen[AT["NodeList"]] = "", "None assigned"
    else:
        seen[_STATE], seen[AT["ElapsedRaw"]] = "RUNNING", str(at - int(row[_START]))
    return seen


def gpus_of(row: list[str]) -> int:
    """GPUs of a record; 0 where it holds none."""
    return int(row[AT["AllocTRES"]].partition("gres/gpu=")[2].partition(",")[0] or 0)


def with_runaway(rows: list[list[str]], *, at: int) -> list[list[str]]:
    """The records, with one small run made such that Slurm never heard of its end; none where there is no such run.

    It ended days or weeks before `at` (epoch seconds), and belongs to a project whose use is not told by a story. All
    others that run then are within their limit.
    """

    def could_be(row: list[str]) -> bool:
        return (
            row[AT["Account"]] in RUN_AWAY
            and row[_END] != UNKNOWN
            and at - 30 * DAY < int(row[_END]) < at - 2 * DAY
            and row[_STATE] == "COMPLETED"
            and 0 < gpus_of(row) <= MOST_RUN_AWAY_GPUS
            and row[AT["TimelimitRaw"]].isdecimal()
            and at - int(row[_START]) > 2 * 60 * int(row[AT["TimelimitRaw"]]) + DAY
        )

    rows = [within_limit(row, at) for row in rows]
    chosen = max((row for row in rows if could_be(row)), key=lambda row: int(row[_END]), default=None)
    if chosen is None:
        return rows
    running = list(chosen)
    running[_END], running[_STATE], running[AT["ElapsedRaw"]] = UNKNOWN, "RUNNING", str(at - int(chosen[_START]))
    return [running if row is chosen else row for row in rows]


def within_limit(row: list[str], at: int) -> list[str]:
    """A record that still runs at an instant, with a limit in whole hours that it has not reached."""
    limit = row[AT["TimelimitRaw"]]
    if row[_END] != UNKNOWN or row[_START] == UNKNOWN or not limit.isdecimal():
        return row
    hours = max(0, at - int(row[_START])) // 3600 + 1
    if int(limit) >= hours * 60:
        return row
    longer = list(row)
    longer[AT["TimelimitRaw"]] = str(hours * 60)
    return longer


def used_seconds(rows: list[list[str]], *, account: str, pool: str, at: int) -> int:
    """GPU-seconds that an account's runs have taken on a pool until an instant."""
    return sum(
        gpus_of(row) * max(0, (at if row[_END] == UNKNOWN else min(int(row[_END]), at)) - begin)
        for row in rows
        if row[AT["Account"]] == account and row[AT["Partition"]] == pool and row[_START] != UNKNOWN
        for begin in (max(int(row[_START]), int(row[_SUBMIT])),)
    )


def _over(row: list[str], since: int) -> bool:
    return row[_END] != UNKNOWN and int(row[_END]) < since


def _unreadable(seen: list[list[str]]) -> Iterator[list[str]]:
    """Two records that no import can read: one ends before it starts, one is cut off in the middle."""
    ended = next(row for row in reversed(seen) if row[_END] != UNKNOWN and row[AT["AllocTRES"]])
    backwards = list(ended)
    backwards[AT["JobIDRaw"]] = backwards[AT["JobID"]] = "99000001"
    backwards[AT["DBIndex"]] = "99000001"
    backwards[_END] = str(int(ended[_START]) - 3600)
    backwards[AT["JobName"]] = "clock-went-back"
    yield backwards
    yield ["99000002", "99000002", *ended[2:7]]
