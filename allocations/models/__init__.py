"""GPU time: what was granted, what was used and on what evidence, what is asked for."""

from allocations.models.allocation import Allocation, ChangeRequest, LedgerEntry, Notice
from allocations.models.usage import (
    DailyUsage,
    JobRun,
    QuarantinedRecord,
    RunCharge,
    RunObservation,
    UsageImport,
)

__all__ = [
    "Allocation",
    "ChangeRequest",
    "DailyUsage",
    "JobRun",
    "LedgerEntry",
    "Notice",
    "QuarantinedRecord",
    "RunCharge",
    "RunObservation",
    "UsageImport",
]
