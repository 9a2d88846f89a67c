"""What PostgreSQL believes of the size of the tables that an import joins."""

from allocations import staging

JOINED = ("allocations_jobrun", "allocations_ledgerentry", "allocations_runcharge")


def correct_statistics() -> None:
    """Count anew where PostgreSQL takes a table for empty that has pages; call it before joins over many rows.

    It does so when an import was rolled back and the table was vacuumed then: the pages stay, and no rows are believed
    to be on them. Joins are planned for no rows until somebody counts, and take hours for what takes seconds.
    """
    if not staging.is_postgres():
        return
    believed_empty = staging.rows(
        "SELECT relname FROM pg_class WHERE oid = ANY(%s::regclass[]) AND relpages > 8 AND reltuples < relpages "
        "ORDER BY relname",
        [list(JOINED)],
    )
    for (table,) in believed_empty:
        staging.analyze(table)
