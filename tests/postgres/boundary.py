"""Was more taken than there was? Answered in plain SQL, by nothing of what writes or checks the books."""

from collections.abc import Sequence

from django.db import connection

SUMS = """
    SELECT a.reference, a.granted_seconds, a.used_seconds, a.held_seconds,
           COALESCE(SUM(e.seconds) FILTER (WHERE e.total = 'granted'), 0),
           COALESCE(-SUM(e.seconds) FILTER (WHERE e.total = 'used'), 0),
           COALESCE(-SUM(e.seconds) FILTER (WHERE e.total = 'held'), 0)
    FROM allocations_allocation a LEFT JOIN allocations_ledgerentry e ON e.allocation_id = a.id
    WHERE a.id = ANY(%s) GROUP BY a.id ORDER BY a.id
"""


def left_by_entries(allocation: int) -> int:
    """GPU-seconds: the sum of all entries."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT COALESCE(SUM(seconds), 0) FROM allocations_ledgerentry WHERE allocation_id = %s", [allocation]
        )
        return int(cursor.fetchone()[0])


def oversold(allocations: Sequence[int]) -> list[str]:
    """What is wrong with these allocations: totals that are not the sum of their entries, and less than 0 left."""
    with connection.cursor() as cursor:
        cursor.execute(SUMS, [list(allocations)])
        rows = cursor.fetchall()
    wrong = [f"{row[0]}: totals {row[1:4]}, entries {row[4:7]}" for row in rows if row[1:4] != row[4:7]]
    return wrong + [f"{row[0]}: {row[1] - row[2] - row[3]} are left" for row in rows if row[1] < row[2] + row[3]]


def faults(
    *, source: int, target: int, before: int, asked: Sequence[int], answers: Sequence[str], refusal: str = "NotEnough"
) -> list[str]:
    """What is wrong after many took at once from `source`, where `before` GPU-seconds were left.

    `asked` are the GPU-seconds of each attempt, `answers` how it ended. What is taken never comes back meanwhile, so an
    attempt may be refused only if it does not fit into what is left at the end either.
    """
    wrong = oversold([source, target])
    wrong += [f"an unexpected answer: {answer}" for answer in sorted(set(answers) - {"done", refusal})]
    taken = sum(seconds for seconds, answer in zip(asked, answers, strict=True) if answer == "done")
    left = left_by_entries(source)
    if left != before - taken:
        wrong.append(f"{taken} of {before} were taken by what the takers say, {before - left} by the entries")
    refused = [seconds for seconds, answer in zip(asked, answers, strict=True) if answer == refusal]
    if refused and min(refused) <= left:
        wrong.append(f"{min(refused)} were refused although {left} are left")
    return wrong
