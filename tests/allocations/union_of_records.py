"""What the books hold after an import, worked out from its good records alone; nothing here imports what it checks.

Records are of one run when they share the job's number and its submission, or its number and its database index. Of one
run the one that has ended counts, then the latest, then the greatest digest.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.allocations.line_accounts import parts_of

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Books:
    """The digests of the runs, and GPU-seconds by "account day"."""

    digests: list[str]
    charged: dict[str, int]


def latest_instant(records: Sequence[Values]) -> int:
    return max((at for each in records for at in (each["submit"], each["start"], each["end"]) if at), default=0)


def books_of(records: Sequence[Values], *, accounts: Iterable[str], as_of: int, zone: ZoneInfo) -> Books:
    """The books after one import; typed h800 GPUs and the untyped ones of the partition `batch` have an allocation."""
    charged: Counter[str] = Counter()
    winners = [max(group, key=rank) for group in groups(records)]
    for run in winners:
        if run["start"] is None or run["state"] == "PENDING" or run["account"] not in accounts:
            continue
        kinds = parts_of(run["alloc_tres"])
        gpus = kinds.get(":h800", 0) + (kinds.get("", 0) if run["partition"] == "batch" else 0)
        at, until = max(run["start"], run["submit"]), as_of if run["end"] is None else run["end"]
        while at < until and gpus:
            day = datetime.fromtimestamp(at, zone).replace(hour=0, minute=0, second=0)
            midnight = int((day + timedelta(days=1)).timestamp())
            charged[f"{run['account']} {day:%Y-%m-%d}"] += gpus * (min(until, midnight) - at)
            at = midnight
    return Books(sorted(run["digest"] for run in winners), dict(charged))


def groups(records: Sequence[Values]) -> list[list[Values]]:
    """The records of each run."""
    first: dict[object, int] = {}
    of = list(range(len(records)))

    def root(place: int) -> int:
        while of[place] != place:
            place = of[place]
        return place

    for place, record in enumerate(records):
        names: list[object] = [("submitted", record["job_id_raw"], record["submit"])]
        if record["db_index"]:
            names.append(("indexed", record["job_id_raw"], record["db_index"]))
        for name in names:
            of[root(place)] = root(first.setdefault(name, place))
    found = defaultdict(list)
    for place, record in enumerate(records):
        found[root(place)].append(record)
    return list(found.values())


def rank(record: Values) -> tuple[bool, int, str]:
    last = next(at for at in (record["end"], record["start"], record["submit"]) if at is not None)
    return record["finished"], last, record["digest"]
