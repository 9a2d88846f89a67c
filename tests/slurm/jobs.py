"""The jobs: one history of every awkward kind, exported while it goes on and after it has ended.

A job's name is its kind, except for those whose name is the point. Jobs that must still run at an export wait for a
file (a flag) instead of for a time, so that the story is the same on a slow machine.
"""

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.slurm.collecting import Collector, Export
from tests.slurm.configuration import GPU, OTHER_GPU
from tests.slurm.lab import HOUR, Lab, Refused, wait_until, zone_with_full_hour_at

OWNERS = {"aria": "daemon", "boat": "bin", "cove": "games", "dune": "man"}
HOSTILE = "hostile name"
HOSTILE_NAMES = (
    "a|b|c",
    "first line\nsecond line",
    "carriage\rreturn",
    "tab\there",
    "=1+1",
    "@SUM(A1)",
    "<script>alert(1)</script>",
    'say "hello"',
    "大模型訓練",
    "\u202eright to left",
    "None",
    "0012",
    "1e5",
    "",
    "~",
)
# What sacct would print of a finished run of another account, with the delimiter that it has by default
IMITATED = (
    "999|999|999|lab|dune|man|batch|normal|COMPLETED|0:0|1700000000|1700000000|1700000000|1900000000|60|"
    "billing=8,gres/gpu:h800=8,gres/gpu=8|hgx01|train"
)


@dataclass(frozen=True)
class Kind:
    """What is done, and the states of the records that sacct tells of it in the end, each with how often."""

    what: str
    states: dict[str, int]


KINDS = {
    "plain-1": Kind("one GPU, without a model", {"COMPLETED": 3}),
    "plain-8": Kind("a node of 8 GPUs, model named", {"COMPLETED": 1}),
    "other-model": Kind("GPUs of another model and partition", {"COMPLETED": 2}),
    "two-nodes": Kind("16 GPUs on two nodes", {"COMPLETED": 1}),
    "no-gpu": Kind("processors only", {"COMPLETED": 2}),
    "steps": Kind("a batch job with three steps", {"COMPLETED": 1}),
    "srun": Kind("srun without a batch job", {"COMPLETED": 1}),
    "salloc": Kind("salloc with a step", {"COMPLETED": 1}),
    "failing": Kind("ends with an error", {"FAILED": 2}),
    "array": Kind("an array of six, two at a time", {"COMPLETED": 6}),
    "array-cut": Kind("an array of eight, the waiting part of it cancelled", {"COMPLETED": 2, "CANCELLED": 1}),
    "het": Kind("a heterogeneous job of two models", {"COMPLETED": 2}),
    "timeout": Kind("runs over its limit of a minute", {"TIMEOUT": 2}),
    "cancelled-waiting": Kind("cancelled before it started, by its owner and by root", {"CANCELLED": 2}),
    "cancelled-running": Kind("cancelled while it ran, by its owner and by root", {"CANCELLED": 2}),
    "rejected": Kind("asks for more than there is", {"FAILED": 1}),
    "failing-first": Kind("fails; three jobs that never become eligible depend on it or wait", {"FAILED": 1}),
    "moved": Kind("moved to another account while it waited", {"COMPLETED": 1}),
    "suspended": Kind("suspended for a while, also at an export", {"COMPLETED": 1}),
    "requeued": Kind("put back twice while it ran", {"REQUEUED": 2, "COMPLETED": 1}),
    "node-fails": Kind("its node fails", {"NODE_FAIL": 1}),
    "node-fails-again": Kind("its node fails, and it runs once more", {"NODE_FAIL": 1, "COMPLETED": 1}),
    "preempted": Kind("gives way to an urgent job, and runs once more", {"PREEMPTED": 1, "COMPLETED": 1}),
    "urgent": Kind("takes the GPUs of the one before", {"COMPLETED": 1}),
    "deadline": Kind("waits until its deadline cannot be met", {"DEADLINE": 1}),
    "resized": Kind("gives back one of its two nodes while it runs", {"RESIZING": 1, "COMPLETED": 1}),
    "across": Kind("runs through both exports in between", {"COMPLETED": 1}),
    "first-across": Kind("runs at the first export", {"COMPLETED": 1}),
    "second-across": Kind("waits at the first export and runs at the second", {"COMPLETED": 1}),
    "array-across": Kind("an array whose tasks wait at the first export", {"COMPLETED": 4}),
    "recycled": Kind("after slurmctld has lost its state: job numbers from 1 again", {"COMPLETED": 3}),
    HOSTILE: Kind("names that no importer should trust", {"COMPLETED": len(HOSTILE_NAMES) + 2}),
}
# Never eligible: an export with a window does not list them, and they used nothing
NOT_LISTED = ("held", "begins-later", "waits-for-ever", "never")


@dataclass
class Story:
    """The history as it goes on: exports taken, and how long each part took."""

    lab: Lab
    folder: Path
    collector: Collector
    exports: list[Export] = field(default_factory=list)
    submitted: int = 0

    def play(self) -> None:
        self.accounts()
        self.tell("submitting")
        waiting = self.begin_long()
        for_ever = self.begin_short()
        self.tell("waiting for those that run at the first export")
        live = self.begin_live()
        self.take_export()
        self.change_live(live)
        self.lab.wait_for(waiting, "RUNNING")
        self.take_export()
        self.raise_flag("second")
        self.tell("waiting for the last to end (a time limit takes a minute and a half)")
        wait_until(lambda: set(self.lab.queued()) == for_ever, "all jobs to end", seconds=240)
        self.take_export()
        self.tell("starting slurmctld without its state")
        self.recycle()
        self.take_export()

    def tell(self, what: str) -> None:
        print(f"  {time.strftime('%H:%M:%S', time.gmtime())} UTC  {what}", flush=True)

    def accounts(self) -> None:
        for account, user in OWNERS.items():
            self.lab.run("sacctmgr", "--immediate", "add", "account", account)
            self.lab.run("sacctmgr", "--immediate", "add", "user", user, f"account={account}")
        self.lab.run("sacctmgr", "--immediate", "add", "user", OWNERS["aria"], "account=boat")

    def submit(self, kind: str, *options: str, account: str, script: str = "sleep 1", name: str | None = None) -> str:
        self.submitted += 1
        named = [f"--job-name={kind if name is None else name}", *options]
        return self.lab.submit(user=OWNERS[account], account=account, options=named, script=script)

    def flag(self, name: str) -> Path:
        return self.lab.places.folder / "flags" / name

    def until(self, flag: str) -> str:
        """A script that goes on until the flag is raised, or for three minutes."""
        return f"n=0; until [ -e {self.flag(flag)} ] || [ $((n += 1)) -gt 600 ]; do sleep 0.3; done"

    def raise_flag(self, name: str) -> None:
        self.flag(name).touch()

    def take_export(self) -> None:
        self.lab.wait_until_told()
        time.sleep(1.1)  # so that no two exports, and no record of one, are of the same second
        self.exports.append(self.collector.export(self.folder / f"export-{len(self.exports) + 1}.txt"))
        states = Counter(self.lab.run("squeue", "--noheader", "--format=%T").split())
        self.tell(f"export {len(self.exports)}; in the queue: {', '.join(f'{n} {s}' for s, n in states.items()) or 0}")

    def begin_long(self) -> str:
        """Jobs that take a while, and those that wait for them; returns one that is to run at the second export."""
        for account in ("aria", "boat"):
            self.submit("timeout", "--gres=gpu:1", "--time=1", "--nodelist=hgx03", account=account, script="sleep 200")
        self.submit(
            *("deadline", "--gres=gpu:8", "--nodelist=hgx03", "--time=1", "--deadline=now+65seconds"), account="dune"
        )
        full = ("--nodes=1", "--exclusive", "--gres=gpu:8", "--nodelist=hgx02")
        self.submit("first-across", *full, account="cove", script=self.until("first"))
        waiting = self.submit("second-across", *full, account="cove", script=self.until("second"))
        self.submit("array-across", "--array=0-3%2", "--gres=gpu:1", "--nodelist=hgx02", account="dune")
        return waiting

    def begin_short(self) -> set[str]:
        """Jobs that are over in a moment, wherever there is room; returns those that will never run."""
        for way in ("--gres=gpu:1", "--gpus=1", "--gpus-per-node=1"):
            self.submit("plain-1", "--nodes=1", way, account="aria")
        self.submit("plain-8", "--nodes=1", f"--gres=gpu:{GPU}:8", account="aria")
        for way in ("--gres=gpu:2", f"--gres=gpu:{OTHER_GPU}:1"):
            self.submit("other-model", "--partition=viz", "--nodes=1", way, account="dune")
        self.submit("two-nodes", "--nodes=2", "--gpus-per-node=8", account="boat")
        for partition in ("cpu", "batch"):
            self.submit("no-gpu", f"--partition={partition}", account="boat")
        self.submit("steps", "--gres=gpu:2", account="dune", script="srun true; srun sleep 1; srun --gres=gpu:1 true")
        for script in ("exit 3", "kill -SEGV $$"):
            self.submit("failing", "--gres=gpu:1", account="cove", script=script)
        self.submit("array", "--array=0-5%2", "--gres=gpu:1", account="boat")
        self.heterogeneous()
        for_ever = self.dead_before_they_started()
        moved = self.submit("moved", "--hold", "--gres=gpu:3", account="aria")
        self.lab.run("scontrol", "update", f"jobid={moved}", "account=boat")
        self.lab.run("scontrol", "release", moved)
        for number, name in enumerate((*HOSTILE_NAMES, f"x\n{IMITATED}", f"\n{IMITATED}\n")):
            options = ("--gres=gpu:1", f"--comment={name}")
            self.submit(HOSTILE, *options, account=list(OWNERS)[number % 3], name=name)
        return for_ever

    def heterogeneous(self) -> None:
        second = [":", "--job-name=het", "--partition=viz", "--ntasks=1", f"--gres=gpu:{OTHER_GPU}:2"]
        options = ["--job-name=het", "--ntasks=1", f"--gres=gpu:{GPU}:2", *second]
        self.lab.submit(user=OWNERS["dune"], account="dune", options=options, script="srun --het-group=0,1 sleep 1")

    def dead_before_they_started(self) -> set[str]:
        for user in (OWNERS["cove"], ""):
            job = self.submit("cancelled-waiting", "--gres=gpu:8", "--nodelist=hgx02", account="cove")
            self.lab.run("scancel", job, user=user)
        try:
            self.submit("rejected", "--nodes=1", "--gres=gpu:64", account="cove")
        except Refused:
            pass
        else:
            raise Refused("Slurm took a job that asks for 64 GPUs of one node.")
        failing = self.submit("failing-first", "--partition=cpu", account="dune", script="sleep 2; exit 1")
        after = f"--dependency=afterok:{failing}"
        self.submit("never", after, "--kill-on-invalid-dep=yes", "--gres=gpu:1", account="dune")
        return {
            self.submit("waits-for-ever", after, "--gres=gpu:1", account="dune"),
            self.submit("held", "--hold", "--gres=gpu:8", account="dune"),
            self.submit("begins-later", "--begin=now+5days", "--gres=gpu:8", account="dune"),
        }

    def begin_live(self) -> dict[str, str]:
        """Jobs to which something happens while they run; returned by kind, all running."""
        there = "--nodelist=hgx04"
        live = {
            "across": self.submit("across", "--gres=gpu:1", there, account="aria", script=self.until("second")),
            "suspended": self.submit("suspended", "--gres=gpu:2", there, account="boat", script=self.until("second")),
            "requeued": self.submit(
                *("requeued", "--requeue", "--gres=gpu:3", there), account="cove", script=self.until("second")
            ),
            "resized": self.submit(
                *("resized", "--nodes=2", "--gres=gpu:2", "--nodelist=hgx[03-04]"),
                account="dune",
                script=self.until("second"),
            ),
            "array-cut": self.submit("array-cut", "--array=0-7%2", "--gres=gpu:1", account="aria", script="sleep 6"),
        }
        for kind, job in live.items():
            self.lab.wait_for(job if kind != "array-cut" else f"{job}_1", "RUNNING")
        self.lab.run("scancel", f"{live['array-cut']}_[2-7]")
        self.lab.run("scontrol", "suspend", live["suspended"])
        self.lab.run("scontrol", "requeue", live["requeued"])
        self.lab.run("srun", "--account=dune", "--job-name=srun", "--gres=gpu:1", "sleep", "1", user=OWNERS["dune"])
        allocate = ("salloc", "--quiet", "--account=dune", "--job-name=salloc", "--gres=gpu:1")
        self.lab.run(*allocate, self.lab.programs.path("srun"), "sleep", "1", user=OWNERS["dune"])
        self.lab.wait_for(live["requeued"], "RUNNING")
        return live

    def change_live(self, live: dict[str, str]) -> None:
        """Between the first and the second export: each of them is treated as its kind says."""
        self.raise_flag("first")
        self.lab.run("scontrol", "resume", live["suspended"])
        self.lab.run("scontrol", "requeue", live["requeued"])
        self.lab.run("scontrol", "update", f"jobid={live['resized']}", "numnodes=1")
        for user in (OWNERS["cove"], ""):
            job = self.submit("cancelled-running", "--gres=gpu:1", account="cove", script="sleep 200")
            self.lab.wait_for(job, "RUNNING")
            time.sleep(1)
            self.lab.run("scancel", job, user=user)
        self.fail_a_node()
        self.preempt()
        self.lab.wait_for(live["requeued"], "RUNNING")

    def fail_a_node(self) -> None:
        stays = ("--partition=viz", "--gres=gpu:1", "--nodes=1")
        once = self.submit("node-fails", *stays, "--no-requeue", account="boat", script="sleep 200")
        again = self.submit("node-fails-again", *stays, "--requeue", account="boat", script=self.until("second"))
        for job in (once, again):
            self.lab.wait_for(job, "RUNNING")
        time.sleep(1)
        self.lab.run("scontrol", "update", "nodename=viz01", "state=down", "reason=a GPU fell off the bus")
        self.lab.wait_for(once, "NODE_FAIL")
        time.sleep(1)
        # Refused where the node has come back by itself
        self.lab.succeeds("scontrol", "update", "nodename=viz01", "state=resume")
        wait_until(lambda: not self.lab.nodes_in("down"), "the node to come back")

    def preempt(self) -> None:
        """An urgent job puts one back that has all GPUs of the node."""
        all_of_it = ("--gres=gpu:4", "--nodes=1")
        job = self.submit("preempted", "--partition=viz", "--requeue", *all_of_it, account="dune", script="sleep 5")
        self.lab.wait_for(job, "RUNNING")
        time.sleep(1)
        urgent = self.submit("urgent", "--partition=urgent", *all_of_it, account="boat")
        self.lab.wait_for(urgent, "RUNNING", "COMPLETING", "COMPLETED")

    def recycle(self) -> None:
        self.lab.forget_the_queue()
        numbers = [self.submit("recycled", "--gres=gpu:1", account="aria", script="sleep 2") for _ in range(3)]
        if numbers[0] != "1":
            raise Refused(f"After a cold start the first job has number {numbers[0]}.")
        # slurmctld tells of jobs that have just begun and ended only after some seconds
        ended = self.lab.states_in_accounting
        wait_until(lambda: ended("recycled") == ["COMPLETED"] * len(numbers), "slurmdbd to hear of the last jobs")


def rolled_up(lab: Lab, path: Path) -> None:
    """What sreport says after the hour's roll-up, as soon as every job has ended.

    slurmdbd adds up full hours of its own time zone. It is started anew in a zone in which the hour of all these jobs
    has just become full, so that nobody waits for the clock: the sums are slurmdbd's own all the same.
    """
    hour_end = int(time.time()) + 2
    lab.wait_until_told()
    lab.daemons.stop("slurmdbd")
    lab.zone = zone_with_full_hour_at(hour_end)
    time.sleep(max(0.0, hour_end + 1 - time.time()))
    lab.start_accounting()
    east = sum(int(part) * unit for part, unit in zip(lab.zone[4:].split(":"), (HOUR, 60, 1), strict=True))
    window = [
        f"{word}={time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(epoch + east))}"
        for word, epoch in (("start", hour_end - 2 * HOUR), ("end", hour_end))
    ]
    report = ("sreport", "-n", "-P", "-t", "seconds", "cluster", "AccountUtilizationByUser", "-T", "gres/gpu", *window)
    wait_until(lambda: bool(lab.run(*report).strip()), "slurmdbd to roll up the hour")
    path.write_text(lab.run(*report))
