"""A Slurm that lives through random days: what its accounting would say of every job at any instant.

A job is one or several records (a requeue and a resize begin another one). A record is told anew whenever something
happens to it: it starts, it is moved to another account, it ends, somebody corrects it weeks later. `sacct` picks what
is known at an instant. The same seed lives the same life.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

HOUR, DAY = 3_600, 86_400
TRES = (
    "",
    "billing=4,cpu=4,mem=1G,node=1",
    "billing=4,cpu=4,gres/gpu=2,mem=1500M,node=1",
    "billing=96,cpu=96,gres/gpu:h800=8,gres/gpu=8,mem=2T,node=1",
    "billing=96,cpu=96,gres/gpu:h800=2,gres/gpu=3,mem=1G,node=1",
    "cpu=8,gres/gpu:a100=1,gres/gpu:h800=2,gres/gpu=3,mem=7.50T,node=2",
    "cpu=8,gres/gpu:a100=4,mem=1G,node=1",
)
PARTITIONS = ("batch", "batch", "debug", "late", "nowhere")
LENGTHS = (0, 1, 59, 600, HOUR, 7_201, 12 * HOUR, 30 * HOUR)
ENDS = ("COMPLETED", "COMPLETED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "CANCELLED by 21001", "PREEMPTED")
NAMES = ("train", "", "a,b|c", "two\nlines", "cr\rlf", "=1+1", "訓練", "9|1|lab|RUNNING\n8|2|lab|COMPLETED", "null")


class Row(NamedTuple):
    """What is said of a record; instants in epoch seconds, None where Slurm does not know one (yet)."""

    raw: int
    job_id: str
    db_index: int
    account: str
    user: str
    partition: str
    submit: int
    state: str = "PENDING"
    start: int | None = None
    end: int | None = None
    tres: str = ""
    nodes: str = "None assigned"
    limit: str = "UNLIMITED"
    name: str = "train"


@dataclass
class Record:
    """One row of Slurm's job table and everything that it ever said, each from an instant on."""

    told: list[tuple[int, Row]]

    @property
    def now(self) -> Row:
        return self.told[-1][1]

    def at(self, instant: int, **changes: Any) -> None:
        self.told.append((instant, self.now._replace(**changes)))

    def known(self, instant: int, *, before: bool) -> Row | None:
        """What it said at an instant; with `before`, without what was told in that very second."""
        known = [row for since, row in self.told if since < instant or (since == instant and not before)]
        return known[-1] if known else None


@dataclass
class Life:
    """One random history: some accounts and users of their own, and the records of their jobs."""

    number: int
    seed: int
    begin: int
    days: int = 4
    records: list[Record] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.accounts = [f"h{self.number}-{letter}" for letter in "abc"]  # the last is opened late, or never
        self._raw = self._index = 1_000 * self.number + 1
        kinds: Sequence[Callable[[], object]] = (
            *(self.plain, self.plain, self.requeued, self.resized, self.array, self.het),
            *(self.recycled, self.rejected, self.never_ran, self.runaway),
        )
        for _ in range(self.chance.randint(2, 5)):
            self.chance.choice(kinds)()

    def sacct(self, *, since: int, at: int, before: bool = False) -> list[Row]:
        """The records of a window [since, at]: those that were not over when it began."""
        rows = [row for record in self.records if (row := record.known(at, before=before))]
        return [row for row in rows if row.end is None or row.end >= since]

    # Jobs of every kind

    def plain(self) -> Record:
        record = self.submitted()
        self.run(record, record.now.submit)
        return record

    def requeued(self) -> None:
        """Up to three runs of the same job, each submitted in the second in which the one before it ended."""
        record = self.submitted()
        for _ in range(self.chance.randint(1, 2)):
            end = self.run(record, record.now.submit, end=self.chance.choice(("REQUEUED", "NODE_FAIL", "PREEMPTED")))
            record = self.submitted(at=max(end, record.now.submit + 1), like=record.now)
        self.run(record, record.now.submit)

    def resized(self) -> None:
        """The second record begins at the first start, before its own submission."""
        record = self.submitted()
        tres, start = self.chance.choice(TRES), record.now.submit + self.wait()
        record.at(start, state="RUNNING", start=start, tres=tres, nodes="hgx[01-02]")
        cut = start + 1 + self.chance.choice(LENGTHS)
        record.at(cut, state="RESIZING", end=cut)
        second = self.submitted(at=cut, like=record.now)
        second.told = [(cut, second.now._replace(state="RUNNING", start=start, tres=self.chance.choice(TRES)))]
        end = cut + self.chance.choice(LENGTHS)
        second.at(end, state=self.chance.choice(ENDS), end=end)

    def array(self) -> None:
        """The pending row stands for all tasks, and becomes the last of them."""
        pending, tasks = self.submitted(), self.chance.randint(2, 4)
        raw, submit = pending.now.raw, pending.now.submit
        pending.told = [(submit, pending.now._replace(job_id=f"{raw}_[0-{tasks - 1}%2]"))]
        at = submit
        for task in range(tasks - 1):
            one = self.submitted(at=submit, like=pending.now._replace(raw=self.number_of_job()))
            at += self.wait()
            one.told = [(at, one.now._replace(job_id=f"{raw}_{task}"))]
            self.run(one, at)
        pending.at(at, job_id=f"{raw}_{tasks - 1}")
        self.run(pending, at)

    def het(self) -> None:
        first = self.submitted()
        second = self.submitted(at=first.now.submit, like=first.now._replace(raw=self.number_of_job()))
        for place, record in enumerate((first, second)):
            told = record.now._replace(job_id=f"{first.now.raw}+{place}", partition=self.chance.choice(PARTITIONS))
            record.told = [(told.submit, told)]
            self.run(record, told.submit)

    def recycled(self) -> None:
        """The same job number again, days later, for somebody else's job."""
        first = self.plain()
        later = first.told[-1][0] + self.chance.randint(1, DAY)
        again = self.submitted(at=later)
        again.told = [(later, again.now._replace(raw=first.now.raw, job_id=first.now.job_id))]
        self.run(again, later)

    def rejected(self) -> None:
        record = self.submitted()
        submit = record.now.submit
        record.told = [(submit, record.now._replace(state="FAILED", start=submit, end=submit))]

    def never_ran(self) -> None:
        """Cancelled by a person (Start = End) or by what it depended on (no start)."""
        record = self.submitted()
        end = record.now.submit + self.wait()
        by_person = self.chance.random() < 0.5
        record.at(
            end, state="CANCELLED by 21001" if by_person else "CANCELLED", start=end if by_person else None, end=end
        )

    def runaway(self) -> None:
        """It is said to run for days, until somebody finds that it ended long ago."""
        record = self.submitted()
        start = record.now.submit + self.wait()
        record.at(start, state="RUNNING", start=start, tres=self.chance.choice(TRES[2:]))
        found = start + self.chance.randint(1, 2 * DAY)
        record.at(found, state="FAILED", end=start + self.chance.randint(0, found - start))

    # What jobs are made of

    def submitted(self, *, at: int | None = None, like: Row | None = None) -> Record:
        """A record that waits; `like` another one: the same job."""
        if at is None:
            at = self.begin + self.chance.randint(0, self.days * DAY)
        index, self._index = self._index, self._index + 1
        if like is None:
            raw = self.number_of_job()
            account, user = self.chance.choice(self.accounts), f"u{self.number}{self.chance.choice('xyz')}"
            partition, name = self.chance.choice(PARTITIONS), self.chance.choice(NAMES)
            limit = self.chance.choice(("UNLIMITED", "60", "1440"))
            row = Row(raw, str(raw), index, account, user, partition, at, limit=limit, name=name)
        else:
            row = like._replace(
                db_index=index, submit=at, state="PENDING", start=None, end=None, tres="", nodes="None assigned"
            )
        record = Record([(at, row)])
        self.records.append(record)
        return record

    def run(self, record: Record, at: int, *, end: str = "") -> int:
        """Let it wait, run, perhaps stand still or move, end, and perhaps be corrected; the instant of its end."""
        chance = self.chance
        if chance.random() < 0.15:
            record.at(at, partition=chance.choice(PARTITIONS), account=chance.choice(self.accounts))
        start = at + self.wait()
        record.at(start, state="RUNNING", start=start, tres=chance.choice(TRES), nodes="hgx01")
        over = start + chance.choice(LENGTHS)
        if chance.random() < 0.2:
            record.at(chance.randint(start, over), state="SUSPENDED")
            record.at(max(record.told[-1][0], chance.randint(start, over)), state="RUNNING")
        if chance.random() < 0.2:  # scontrol update job account=
            record.at(max(record.told[-1][0], chance.randint(start, over)), account=chance.choice(self.accounts))
        if chance.random() < 0.1:
            record.at(over, state="COMPLETING")
        record.at(over, state=end or chance.choice(ENDS), end=over)
        if not end and chance.random() < 0.2:
            self.correct(record, over + chance.randint(0, DAY))
        elif not end and chance.random() < 0.1:  # a daemon that came back with old state: what is over stays over
            record.at(over + chance.randint(0, DAY), state="RUNNING", end=None)
        return over

    def correct(self, record: Record, at: int) -> None:
        """Somebody mends what Slurm had written down of a run that is over."""
        row = record.now
        changes: tuple[dict[str, Any], ...] = (
            {"account": self.chance.choice(self.accounts)},
            {"tres": self.chance.choice(TRES)},
            {"end": self.chance.randint(row.start or row.submit, at)},
            {"partition": self.chance.choice(PARTITIONS)},
            {"state": "FAILED"},
        )
        record.at(at, **self.chance.choice(changes))

    def wait(self) -> int:
        return self.chance.choice((0, 1, 30, 900, 5 * HOUR))

    def number_of_job(self) -> int:
        raw, self._raw = self._raw, self._raw + 1
        return raw
