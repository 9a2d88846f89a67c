"""Which rows the database refuses: the conditions of `centre.triggers`, in SQL that both databases read."""

# Acts that give or take hours. What usage charges and corrects is a fact, not an act. Opening balances brought in by
# `manage.py onboard` are exempted; the auditor finds them by their source. What is done by a rule carries the names of
# the two people who made the rule. That a refund follows the usage of its runs is a fact again, within what it gave.
NEEDS_TWO_PEOPLE = """
    (NEW.kind IN ('grant', 'top_up', 'transfer', 'forfeit', 'correction', 'reversal')
        OR (NEW.kind = 'refund' AND NEW.source_kind <> 'usage'))
    AND NOT (NEW.kind = 'grant' AND NEW.source_kind = 'onboard' AND NOT EXISTS (
        SELECT 1 FROM allocations_ledgerentry earlier WHERE earlier.allocation_id = NEW.allocation_id))
    AND NOT (NEW.kind = 'correction' AND NEW.total = 'used' AND NEW.source_kind = 'refund_follows' AND EXISTS (
        SELECT 1 FROM allocations_ledgerentry refund
        WHERE refund.id = CASE WHEN NEW.source_kind = 'refund_follows' THEN CAST(NEW.source_reference AS bigint) END
            AND refund.kind = 'refund' AND refund.allocation_id = NEW.allocation_id
            AND NEW.seconds + COALESCE((
                SELECT SUM(earlier.seconds) FROM allocations_ledgerentry earlier
                WHERE earlier.allocation_id = NEW.allocation_id AND earlier.source_kind = 'refund_follows'
                    AND earlier.source_reference = NEW.source_reference), 0) BETWEEN -refund.seconds AND 0))
    AND ABS(NEW.seconds) > COALESCE((SELECT two_person_above_seconds FROM centre_centre WHERE id = 1), 0)
    AND (NEW.asked_by_id IS NULL OR NEW.approved_by_id IS NULL OR NEW.asked_by_id = NEW.approved_by_id)
"""

# A further Slurm account draws on an allocation: of the same pool, on days of its period, where no allocation takes the
# account by its own name. Without a withdrawal it stays as it is.
DRAWS_ELSEWHERE = """
    NOT EXISTS (
        SELECT 1 FROM allocations_allocation a WHERE a.id = NEW.allocation_id AND a.pool_id = NEW.pool_id
            AND a.start_on <= NEW.from_on AND NEW.until_on <= a.end_on)
"""
IS_COVERED_BY_NAME = """
    NEW.withdrawn_at IS NULL AND EXISTS (
        SELECT 1 FROM allocations_allocation a
        WHERE a.pool_id = NEW.pool_id AND a.account = NEW.account AND a.state <> 'void'
            AND a.start_on <= NEW.until_on AND NEW.from_on <= a.end_on)
"""
DRAWS_ALREADY = """
    (NEW.state <> 'void' AND EXISTS (
        SELECT 1 FROM allocations_drawingaccount d
        WHERE d.pool_id = NEW.pool_id AND d.account = NEW.account AND d.withdrawn_at IS NULL
            AND d.from_on <= NEW.end_on AND NEW.start_on <= d.until_on))
    OR EXISTS (
        SELECT 1 FROM allocations_drawingaccount d
        WHERE d.allocation_id = NEW.id AND d.withdrawn_at IS NULL AND d.pool_id <> NEW.pool_id)
"""
MORE_THAN_WITHDRAWN = "OLD.withdrawn_at IS NOT NULL OR NEW.withdrawn_at IS NULL OR " + " OR ".join(
    f"NEW.{column} <> OLD.{column}"
    for column in (
        "id",
        "allocation_id",
        "pool_id",
        "account",
        "from_on",
        "until_on",
        "reason",
        "made_by_id",
        "made_at",
    )
)

# The scheme's ceilings: the ordinary one without recorded grounds, the exceptional one with them.
ABOVE_THE_CEILING = """
    NEW.outcome = 'approved' AND NOT EXISTS (
        SELECT 1 FROM subsidies_application a JOIN subsidies_scheme s ON s.id = a.scheme_id
        WHERE a.id = NEW.application_id AND NEW.rate_bp <=
            CASE WHEN TRIM(NEW.exceptional_grounds) = '' THEN s.ordinary_ceiling_bp ELSE s.exceptional_ceiling_bp END)
"""
CONFIRMED = "EXISTS (SELECT 1 FROM subsidies_decision d WHERE d.id = {row}.decision_id AND d.confirmed_at IS NOT NULL)"
NOT_AS_DECIDED = """
    NOT EXISTS (
        SELECT 1 FROM subsidies_decision d
        WHERE d.id = NEW.decision_id AND d.application_id = NEW.application_id AND d.confirmed_at IS NOT NULL
            AND d.outcome = 'approved' AND d.rate_bp = NEW.rate_bp AND d.amount_cents = NEW.amount_cents)
"""
CHANGED_TERMS = " OR ".join(
    (
        *(
            f"NEW.{column} <> OLD.{column}"
            for column in ("id", "user_id", "role", "from_on", "reason", "asked_at", "is_first")
        ),
        "COALESCE(NEW.asked_by_id, 0) <> COALESCE(OLD.asked_by_id, 0)",
        "(OLD.approved_at IS NOT NULL AND (NEW.approved_at IS NULL OR NEW.approved_at <> OLD.approved_at "
        "OR COALESCE(NEW.approved_by_id, 0) <> COALESCE(OLD.approved_by_id, 0)))",
        "(OLD.withdrawn_at IS NOT NULL AND (NEW.withdrawn_at IS NULL OR NEW.approved_at IS NOT NULL))",
        "COALESCE(NEW.until_on, '9999-12-31') > COALESCE(OLD.until_on, '9999-12-31')",
    )
)
LATER_THAN_THE_FIRST = """
    NEW.is_first AND (
        EXISTS (SELECT 1 FROM centre_appointment a WHERE NOT a.is_first)
        OR (SELECT COUNT(*) FROM centre_appointment a WHERE a.is_first) >= 2)
"""
