"""Invents a believable history of job runs, as `sacct -a -X -P --duplicates` would tell it.

For the demo and for tests. A plan says how many GPU-hours an account shall use
over which days and in what style; lengths are stretched until it comes out
about so. With the text comes the truth: what each account is to be charged, to
the second, by plain arithmetic of its own, so that the real reading and
charging can be checked against it.
"""

import random
import string
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

Style = Literal["pretraining", "finetuning", "evaluation", "inference", "mixed"]

FIELDS: Final = (
    *("JobIDRaw", "JobID", "DBIndex", "Cluster", "Account", "User", "Partition", "QOS", "State", "ExitCode"),
    *("Submit", "Eligible", "Start", "End", "ElapsedRaw", "TimelimitRaw", "Suspended", "AllocTRES"),
    *("NodeList", "JobName"),
)
_HOUR: Final = 3600
_DAY: Final = 86_400
_LONGEST: Final = 7 * _DAY
_GPUS_PER_NODE: Final = 8


class _Manner(NamedTuple):
    """How a kind of work looks: its share of submissions, GPUs, median seconds, spread, names."""

    weight: int
    gpus: tuple[int, ...]
    median: int
    spread: float
    names: tuple[str, ...]


_WORK: Final = {
    "pretraining": _Manner(
        4, (32, 64, 64, 128), 4 * _HOUR, 1.1, ("pretrain-7b", "moe-8x7b", "llm-13b-stage{}", "大模型預訓練-{}")
    ),
    "finetuning": _Manner(12, (8, 8, 8, 16, 32), 40 * 60, 1.1, ("sft-7b", "dpo-{}", "lora-r16-{}", "微调-{}")),
    "evaluation": _Manner(50, (1, 1, 1, 2, 4, 8), 180, 1.2, ("eval-{}", "mmlu", "ceval-{}", "評測-{}", "bash")),
    "inference": _Manner(12, (1, 2, 4, 8), 30 * 60, 1.1, ("serve-{}", "rollout", "embed-{}", "batch-transcribe")),
    "preparation": _Manner(8, (0,), 10 * 60, 1.3, ("tokenize", "dedup-{}", "ckpt-convert")),
}
_EMPHASIS: Final[dict[Style, str | None]] = {
    "pretraining": "pretraining",
    "finetuning": "finetuning",
    "evaluation": "evaluation",
    "inference": "inference",
    "mixed": None,
}
_AWKWARD: Final = (
    *("=1+1", '=HYPERLINK("http://example.org")', "+SUM(A1)", "@cmd", "-dash", "a|b|c", "||", "lr=1e-4,bs=32"),
    *("line1\nline2", "tab\there", "cr\rlf", "bell\x07", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>"),
    *("\u202eright to left", "emoji 🚀", "粵語轉寫模型第三版", "é-combining: e\u0301", "x" * 200, "None", "null"),
    *("0012", "1e5", "say `hello`", "it's", "back\\slash", "$(id)", "100%", "  leading", "trailing "),
    "x\n1|1|1|hgx|someone-else|eve|batch|normal|COMPLETED|0:0|1|1|1|99999|1|1|0|gres/gpu=999|n1|forged",
)


@dataclass(frozen=True, kw_only=True)
class AccountPlan:
    """What one Slurm account shall do: about `gpu_hours` from `first_on` to `last_on`, both included.

    No run takes more than `most_gpus`.
    """

    account: str
    users: tuple[str, ...]
    partition: str
    gpu_type: str
    gpu_hours: int
    first_on: date
    last_on: date
    style: Style = "mixed"
    most_gpus: int = 128


@dataclass
class Truth:
    """What an import of the history has to find, in GPU-seconds; computed apart from the portal's own rules."""

    charged: Counter[str] = field(default_factory=Counter)
    charged_by_day: Counter[tuple[str, date]] = field(default_factory=Counter)
    running: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    cases: Counter[str] = field(default_factory=Counter)
    records: int = 0


@dataclass(frozen=True)
class History:
    """The text of an export made at `exported_at` (epoch seconds), and the truth about it."""

    text: bytes
    delimiter: str
    exported_at: int
    truth: Truth


@dataclass
class _Job:
    """One submission; `seconds` is its length before it is stretched to meet the plan."""

    plan: AccountPlan
    submit: int
    start: int
    stop: int
    gpus: int
    seconds: int
    user: str
    name: str
    fate: str
    tasks: int = 1

    def length(self, stretch: int) -> int:
        """Seconds of GPU use when lengths are multiplied by stretch / 1024."""
        if self.fate == "never started" or self.start >= self.stop:
            return 0
        if self.fate == "lasting":
            return min(_LONGEST, self.stop - self.start)
        return min(max(self.seconds * stretch >> 10, 5), _LONGEST, self.stop - self.start)


class _Run(NamedTuple):
    """One row to be written; instants in epoch seconds, None where sacct has a placeholder."""

    job: _Job
    task: str
    submit: int
    start: int | None
    end: int | None
    gpus: int
    state: str
    suspended: int = 0


def make_history(
    *,
    seed: int,
    runs: int,
    start: datetime,
    end: datetime,
    cluster: str,
    zone: ZoneInfo,
    plans: Sequence[AccountPlan],
    time_format: Literal["epoch", "iso"] = "epoch",
) -> History:
    """About `runs` job runs of `plans` between `start` and `end`, the instant of the export.

    The same arguments give the same bytes. A plan whose days lie outside is left out.
    """
    chance = random.Random(seed)  # noqa: S311 - invented jobs, nothing secret
    first, last = int(start.timestamp()), int(end.timestamp())
    jobs: list[_Job] = []
    spans = [(plan, *_span(plan, first, last, zone)) for plan in plans]
    spans = [(plan, begin, stop) for plan, begin, stop in spans if begin < min(stop, last)]
    weights = [1 + int((plan.gpu_hours + 1) ** 0.5) for plan, _begin, _stop in spans]
    for (plan, begin, stop), weight in zip(spans, weights, strict=True):
        share = max(3, runs * weight // sum(weights))
        own = _submissions(chance, plan, begin=begin, stop=stop, last=last, runs=share, zone=zone)
        stretch = _stretch(own, plan.gpu_hours * _HOUR)
        for job in own:
            job.seconds = job.seconds * stretch >> 10
        jobs += own
    jobs.sort(key=lambda job: job.submit)
    delimiter = "".join(chance.choice(string.ascii_letters + string.digits) for _ in range(24))
    writer = _Writer(cluster=cluster, zone=zone, exported_at=last, delimiter=delimiter, time_format=time_format)
    for job in jobs:
        writer.add(chance, job)
    return History("".join(writer.lines).encode(), delimiter, last, _truth(writer.rows, last, zone, writer.cases))


def _span(plan: AccountPlan, first: int, last: int, zone: ZoneInfo) -> tuple[int, int]:
    """From when until when the plan's jobs run, in epoch seconds."""
    begin = datetime(plan.first_on.year, plan.first_on.month, plan.first_on.day, tzinfo=zone)
    after = plan.last_on + timedelta(days=1)
    stop = datetime(after.year, after.month, after.day, tzinfo=zone)
    return max(first, int(begin.timestamp())), min(int(stop.timestamp()), last + _LONGEST)


def _submissions(
    chance: random.Random, plan: AccountPlan, *, begin: int, stop: int, last: int, runs: int, zone: ZoneInfo
) -> list[_Job]:
    """The plan's jobs, together about `runs` rows, before their lengths are settled."""
    kinds = list(_WORK)
    weights = [_WORK[kind].weight * (5 if kind == _EMPHASIS[plan.style] else 1) for kind in kinds]
    jobs: list[_Job] = []
    rows = 0
    while rows < runs:
        kind = chance.choices(kinds, weights)[0]
        manner = _WORK[kind]
        gpus = min(chance.choice(manner.gpus), plan.most_gpus)
        submit = _working_hour(chance, begin, min(stop, last), zone)
        job = _Job(
            plan=plan,
            submit=submit,
            start=submit + int(chance.expovariate(1 / 240 if gpus <= _GPUS_PER_NODE else 1 / 1800)),
            stop=stop,
            gpus=gpus,
            seconds=int(chance.lognormvariate(0, manner.spread) * manner.median),
            user=chance.choice(plan.users),
            name=chance.choice(manner.names).format(chance.randrange(100)),
            fate=_fate(chance, gpus),
        )
        if chance.random() < 0.004:
            job.name = chance.choice(_AWKWARD)
        if stop > last and rows < 2:  # an account at work on the day has something running and something waiting
            job.gpus = max(1, min(gpus, plan.gpu_hours // 2_000))
            job.submit = max(begin, last - chance.randrange(2 * _HOUR, 30 * _HOUR))
            job.fate, job.start = ("lasting", job.submit) if rows else ("waiting", last + _HOUR)
        elif job.fate == "array":
            job.tasks = chance.randrange(2, 17)
        jobs.append(job)
        rows += job.tasks
    return jobs


def _working_hour(chance: random.Random, begin: int, stop: int, zone: ZoneInfo) -> int:
    """A time of submission: fewer at night and at weekends."""
    while True:
        instant = chance.randrange(begin, max(begin + 1, stop))
        local = datetime.fromtimestamp(instant, zone)
        busy = (9 if 9 <= local.hour < 22 else 3) * (2 if local.weekday() < 5 else 1)
        if chance.randrange(18) < busy:
            return instant


def _fate(chance: random.Random, gpus: int) -> str:
    """What becomes of a job."""
    fates = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "never started", "array", "suspended")
    fate = chance.choices(fates, (700, 110, 90, 40, 4, 35, 12, 2))[0]
    if fate == "COMPLETED" and gpus and chance.random() < 0.012:
        return chance.choices(("requeued", "node failure", "resized"), (6, 4, 2 if gpus > _GPUS_PER_NODE else 0))[0]
    return fate


def _stretch(jobs: list[_Job], target: int) -> int:
    """The factor (in 1024ths) of the lengths with which the jobs come nearest above `target` GPU-seconds."""
    low, high = 1, 1 << 24
    while low < high:
        middle = (low + high) // 2
        if sum(job.length(middle) * job.gpus * job.tasks for job in jobs) < target:
            low = middle + 1
        else:
            high = middle
    return low


class _Writer:
    """Gives jobs their ids, breaks them into runs, and spells them as sacct does."""

    def __init__(
        self, *, cluster: str, zone: ZoneInfo, exported_at: int, delimiter: str, time_format: Literal["epoch", "iso"]
    ) -> None:
        self._cluster = cluster
        self._zone = zone
        self._exported_at = exported_at
        self._delimiter = delimiter
        self._iso = time_format == "iso"
        self._next_id = 100_001
        self.lines = [delimiter.join(FIELDS) + "\n"]
        self.rows: list[_Run] = []
        self.cases: Counter[str] = Counter()

    def add(self, chance: random.Random, job: _Job) -> None:
        """All rows of one submission."""
        base = self._next_id
        self._next_id += job.tasks
        self.cases[job.fate] += 1
        self.cases["awkward name"] += job.name in _AWKWARD
        self.cases["zero GPUs"] += job.gpus == 0
        for task in range(job.tasks):
            # the last task of an array keeps the array's own id
            raw = base + (task + 1) % job.tasks
            label = f"{base}_{task}" if job.tasks > 1 else str(base)
            for run in self._runs(chance, job, label):
                self.rows.append(run)
                self._spell(chance, run, raw)

    def _runs(self, chance: random.Random, job: _Job, label: str) -> Iterator[_Run]:
        """The runs of one task, until the export sees it waiting or running."""
        length = job.length(1024)
        state = job.fate if job.fate.isupper() else "COMPLETED"
        if job.start >= self._exported_at:
            yield _Run(job, label, job.submit, None, None, job.gpus, "PENDING")
        elif job.fate == "never started":
            gone = min(job.submit + chance.randrange(1, 4 * _HOUR), self._exported_at)
            yield _Run(job, label, job.submit, gone, gone, 0, "CANCELLED")
        elif job.fate in ("requeued", "node failure") and length > 60:
            broken = chance.randrange(20, length)
            yield from self._until_export(
                _Run(
                    *(job, label, job.submit, job.start, job.start + broken, job.gpus),
                    "REQUEUED" if job.fate == "requeued" else "NODE_FAIL",
                )
            )
            again = job.start + broken
            restart = min(again + 121, job.stop - 1)
            if again < self._exported_at and restart > again:
                finish = min(restart + length - broken, job.stop)
                yield from self._until_export(_Run(job, label, again, restart, finish, job.gpus, state))
        elif job.fate == "resized" and length > 60 and job.gpus > _GPUS_PER_NODE:
            shrunk, finish = job.start + length // 3, job.start + length
            yield from self._until_export(_Run(job, label, job.submit, job.start, shrunk, job.gpus, "RESIZING"))
            if shrunk < self._exported_at:  # the second record keeps the first start
                yield from self._until_export(_Run(job, label, shrunk, job.start, finish, _GPUS_PER_NODE, state))
        else:
            pause = length // 4 if job.fate == "suspended" else 0
            run = _Run(job, label, job.submit, job.start, job.start + length, job.gpus, state, pause)
            yield from self._until_export(run)

    def _until_export(self, run: _Run) -> Iterator[_Run]:
        """The run as the export sees it: what has not ended by then is running, or still waiting."""
        if run.start is not None and run.start >= self._exported_at:
            yield run._replace(start=None, end=None, state="PENDING", suspended=0)
        elif run.end is not None and run.end >= self._exported_at:
            yield run._replace(end=None, state="SUSPENDED" if run.suspended else "RUNNING")
        else:
            yield run

    def _spell(self, chance: random.Random, run: _Run, raw: int) -> None:
        """The line of one run."""
        job, plan = run.job, run.job.plan
        taken = run.start is not None and run.end != run.start
        nodes = -(-run.gpus // _GPUS_PER_NODE) or 1
        until = self._exported_at if run.end is None else run.end
        elapsed = max(0, until - run.start - run.suspended) if run.start is not None else 0
        state = f"CANCELLED by {20_000 + raw % 97}" if run.state == "CANCELLED" else run.state
        cells = (
            *(str(raw), run.task, str(len(self.rows)), self._cluster, plan.account, job.user),
            plan.partition if run.gpus or not taken else "cpu",
            *(chance.choices(("normal", "high"), (9, 1))[0], state),
            {"FAILED": "1:0", "OUT_OF_MEMORY": "0:125"}.get(run.state, "0:0"),
            *(self._time(run.submit), self._time(run.submit), self._time(run.start), self._time(run.end)),
            *(str(elapsed), str(max(60, job.seconds // 60 * 2)), _clock(run.suspended)),
            _tres(run.gpus, nodes, plan.gpu_type) if taken else "",
            _node_list(chance.randrange(1, 200), nodes) if taken else "None assigned",
            job.name,
        )
        self.lines.append(self._delimiter.join(cells) + "\n")

    def _time(self, instant: int | None) -> str:
        if instant is None:
            return "Unknown"
        return f"{datetime.fromtimestamp(instant, self._zone):%Y-%m-%dT%H:%M:%S}" if self._iso else str(instant)


def _tres(gpus: int, nodes: int, gpu_type: str) -> str:
    """AllocTRES as Slurm sorts it, the typed GPUs before the total."""
    cpus = gpus * 12 or 8
    typed = f"gres/gpu:{gpu_type}={gpus}," if gpu_type and gpus else ""
    total = f"gres/gpu={gpus}," if gpus else ""
    return f"billing={cpus},cpu={cpus},{typed}{total}mem={gpus * 240 or 64}G,node={nodes}"


def _clock(seconds: int) -> str:
    days, rest = divmod(seconds, _DAY)
    return (f"{days}-" if days else "") + f"{rest // _HOUR:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"


def _node_list(first: int, nodes: int) -> str:
    return f"hgx{first:03d}" if nodes == 1 else f"hgx[{first:03d}-{first + nodes - 1:03d}]"


def _truth(rows: list[_Run], exported_at: int, zone: ZoneInfo, cases: Counter[str]) -> Truth:
    """Second by second what the rows hold, cut at a list of midnights."""
    truth = Truth(cases=cases, records=len(rows))
    day = datetime.fromtimestamp(min((row.submit for row in rows), default=exported_at), zone).date()
    days = [day + timedelta(days=n) for n in range((datetime.fromtimestamp(exported_at, zone).date() - day).days + 2)]
    midnights = [int(datetime(d.year, d.month, d.day, tzinfo=zone).timestamp()) for d in days]
    for row in rows:
        truth.states[row.state] += 1
        if row.start is None or not row.gpus:
            continue
        account = row.job.plan.account
        at, until = max(row.start, row.submit), exported_at if row.end is None else row.end
        while at < until:
            place = bisect_right(midnights, at)
            cut = min(until, midnights[place])
            truth.charged[account] += (cut - at) * row.gpus
            truth.charged_by_day[account, days[place - 1]] += (cut - at) * row.gpus
            truth.running[account] += (cut - at) * row.gpus if row.end is None else 0
            at = cut
    return truth
