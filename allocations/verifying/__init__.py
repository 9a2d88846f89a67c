"""Are the books right? Everything is computed a second time, from the evidence up, and each difference is named.

    job runs -> run charges -> ledger entries -> totals of the allocation, and the daily rollup
    requests, rules, runs chosen for a refund -> ledger entries <- events of the audit trail
    approved extensions and early ends -> last days of allocations <- events of the audit trail

This package imports none of the code that writes the books, only the tables: what that code misunderstood must not pass
here. It reads Slurm's resources, parts the days, finds the allocations and pairs the entries in its own plain way. It
goes through the books a part at a time, so that its memory does not grow with them.
"""

from collections.abc import Iterator

from allocations.verifying.decisions import wrong_decisions
from allocations.verifying.extensions import wrong_extensions
from allocations.verifying.periods import wrong_period_ends, wrong_take_backs
from allocations.verifying.refunds import wrong_refunds
from allocations.verifying.requests import wrong_requests
from allocations.verifying.statements import wrong_statements
from allocations.verifying.totals import wrong_totals
from allocations.verifying.usage import wrong_daily_usage, wrong_entries_of_usage, wrong_run_charges

__all__ = ["differences"]


def differences() -> Iterator[str]:
    """One sentence for each figure that is not what the evidence says; none when the books are right."""
    yield from wrong_totals()
    yield from wrong_entries_of_usage()
    yield from wrong_run_charges()
    yield from wrong_daily_usage()
    yield from wrong_refunds()
    yield from wrong_decisions()
    yield from wrong_requests()
    yield from wrong_extensions()
    yield from wrong_period_ends()
    yield from wrong_take_backs()
    yield from wrong_statements()
