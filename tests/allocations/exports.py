"""Exports spelled out for tests, and what the reader makes of them."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from zoneinfo import ZoneInfo

from allocations.slurm.sacct import BadRecord, Export, Record, Row, open_export

HONG_KONG = ZoneInfo("Asia/Hong_Kong")
STRONG = "q7Zx-Lp2_vR9tK4w"
ORDER = (
    *("JobIDRaw", "JobID", "DBIndex", "Cluster", "Account", "User", "Partition", "QOS", "State", "ExitCode"),
    *("Submit", "Eligible", "Start", "End", "ElapsedRaw", "TimelimitRaw", "AllocTRES", "NodeList", "JobName"),
)
RUN = {
    "JobIDRaw": "7",
    "JobID": "7",
    "DBIndex": "71",
    "Cluster": "hgx",
    "Account": "lab",
    "User": "amy",
    "Partition": "batch",
    "QOS": "normal",
    "State": "COMPLETED",
    "ExitCode": "0:0",
    "Submit": "2026-03-04T10:00:00",
    "Eligible": "2026-03-04T10:00:00",
    "Start": "2026-03-04T10:00:05",
    "End": "2026-03-04T12:00:05",
    "ElapsedRaw": "7200",
    "TimelimitRaw": "180",
    "AllocTRES": "billing=96,cpu=96,gres/gpu:h800=8,gres/gpu=8,mem=1G,node=1",
    "NodeList": "hgx01",
    "JobName": "train",
}
TEN_O_CLOCK = 1_772_589_600


def spelled(*runs: Mapping[str, str], delimiter: str = STRONG, order: Sequence[str] = ORDER) -> bytes:
    """An export of runs that differ from RUN as given."""
    lines = [delimiter.join(order), *(delimiter.join({**RUN, **run}[name] for name in order) for run in runs)]
    return ("\n".join(lines) + "\n").encode()


def opened(data: bytes, zone: ZoneInfo = HONG_KONG) -> Export:
    return open_export(BytesIO(data), zone=zone, cluster="hgx")


def rows_of(data: bytes, zone: ZoneInfo = HONG_KONG) -> list[Row]:
    """All rows, with the promise checked that each is counted once."""
    export = opened(data, zone)
    rows = list(export)
    assert export.read == len(rows) == export.records + export.bad + export.ignored
    return rows


def only_record(data: bytes, zone: ZoneInfo = HONG_KONG) -> Record:
    [row] = rows_of(data, zone)
    assert isinstance(row, Record)
    return row


def names_of(data: bytes) -> list[str]:
    rows = rows_of(data)
    assert [row for row in rows if not isinstance(row, Record)] == []
    return [row.job_name for row in rows if isinstance(row, Record)]


def reasons_of(data: bytes) -> list[str]:
    return [row.reason for row in rows_of(data) if isinstance(row, BadRecord)]
