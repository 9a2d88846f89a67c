"""GPU time: what was granted, what was used and on what evidence, what is asked for, what becomes of the rest."""

from allocations.models.allocation import Allocation, LedgerEntry
from allocations.models.drawing import DrawingAccount
from allocations.models.imports import ImportToken, QuarantinedRecord, UsageImport
from allocations.models.notices import Notice, NoticeOptOut
from allocations.models.onboarding import OnboardingFile, OnboardingLine, OnboardingStep, OnboardingUpload
from allocations.models.requests import ChangeRequest, RequestedRun
from allocations.models.rules import (
    PeriodEnd,
    PeriodEndRule,
    TakeBackExemption,
    TakeBackRule,
    TakeBackWarning,
)
from allocations.models.statements import Statement
from allocations.models.usage import (
    DailyUsage,
    JobRun,
    Outcome,
    RunCharge,
    RunObservation,
    RunRefund,
)

__all__ = [
    "Allocation",
    "ChangeRequest",
    "DailyUsage",
    "DrawingAccount",
    "ImportToken",
    "JobRun",
    "LedgerEntry",
    "Notice",
    "NoticeOptOut",
    "OnboardingFile",
    "OnboardingLine",
    "OnboardingStep",
    "OnboardingUpload",
    "Outcome",
    "PeriodEnd",
    "PeriodEndRule",
    "QuarantinedRecord",
    "RequestedRun",
    "RunCharge",
    "RunObservation",
    "RunRefund",
    "Statement",
    "TakeBackExemption",
    "TakeBackRule",
    "TakeBackWarning",
    "UsageImport",
]
