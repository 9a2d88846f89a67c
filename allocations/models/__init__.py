"""GPU time: what was granted, what was used and on what evidence, what is asked for, what becomes of the rest."""

from allocations.models.allocation import Allocation, LedgerEntry
from allocations.models.notices import Notice, NoticeOptOut
from allocations.models.requests import ChangeRequest, RequestedRun
from allocations.models.rules import (
    PeriodEnd,
    PeriodEndRule,
    TakeBackExemption,
    TakeBackRule,
    TakeBackWarning,
)
from allocations.models.usage import (
    DailyUsage,
    JobRun,
    QuarantinedRecord,
    RunCharge,
    RunObservation,
    RunRefund,
    UsageImport,
)

__all__ = [
    "Allocation",
    "ChangeRequest",
    "DailyUsage",
    "JobRun",
    "LedgerEntry",
    "Notice",
    "NoticeOptOut",
    "PeriodEnd",
    "PeriodEndRule",
    "QuarantinedRecord",
    "RequestedRun",
    "RunCharge",
    "RunObservation",
    "RunRefund",
    "TakeBackExemption",
    "TakeBackRule",
    "TakeBackWarning",
    "UsageImport",
]
