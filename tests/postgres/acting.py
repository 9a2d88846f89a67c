"""Many acts at the same moment: by threads of this process, and by processes that share nothing but the database."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Barrier

from django.db import connection

from allocations import requests
from allocations.ledger import LedgerError
from centre.appointments import AppointmentError
from centre.members import MemberError
from subsidies.fund import FundExhausted
from subsidies.life_cycle import AlreadyDecided
from tests.postgres.taking import Take, take_part, taken

EXPECTED = (AppointmentError, LedgerError, AlreadyDecided, FundExhausted, requests.RequestError, MemberError)
PATIENCE = 60
"""Seconds after which those who wait for each other give up."""

Act = Callable[[], object]
TakeAll = Callable[[Sequence[Take]], list[str]]


def together(acts: Sequence[Act]) -> list[str]:
    """Do the acts in threads that begin at the same moment: "done" for each, or the name of the error it met."""

    def ended(act: Act) -> str:
        try:
            act()
        except EXPECTED as error:
            return type(error).__name__
        return "done"

    with threads(len(acts)) as at_once:
        return sorted(at_once([partial(ended, act) for act in acts]))


@contextmanager
def threads(size: int) -> Iterator[Callable[[Sequence[Callable[[], str]]], list[str]]]:
    """Threads with a connection each: given `size` acts, all begin at the same moment, and each gives its answer."""
    start = Barrier(size, timeout=PATIENCE)

    def run(act: Callable[[], str]) -> str:
        connection.ensure_connection()
        start.wait()
        return act()

    def leave(_number: int) -> None:
        start.wait()  # so that every thread closes a connection: its own
        connection.close()

    with ThreadPoolExecutor(size) as pool:
        yield lambda acts: list(pool.map(run, acts))
        list(pool.map(leave, range(size)))


@contextmanager
def thread_takers(size: int) -> Iterator[TakeAll]:
    """As many threads as there are attempts."""
    with threads(size) as at_once:
        yield lambda takes: at_once([partial(taken, take) for take in takes])


@contextmanager
def process_takers(size: int) -> Iterator[TakeAll]:
    """Processes that divide the attempts between them and begin at the same moment."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.postgres.taking"])
    start = context.Barrier(size, timeout=PATIENCE)
    channels, processes = [], []
    for _ in range(size):
        ours, theirs = context.Pipe()
        process = context.Process(
            target=take_part, args=(theirs, start, str(connection.settings_dict["NAME"])), daemon=True
        )
        process.start()
        theirs.close()  # a process that breaks is then seen as the end of its channel
        channels.append(ours)
        processes.append(process)

    def take_all(takes: Sequence[Take]) -> list[str]:
        for n, channel in enumerate(channels):
            channel.send(takes[n::size])
        answers = [""] * len(takes)
        for n, channel in enumerate(channels):
            answers[n::size] = channel.recv()
        return answers

    yield take_all
    for channel in channels:
        channel.send([])
    for process in processes:
        process.join(PATIENCE)
