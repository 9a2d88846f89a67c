"""The subsidy scheme: its money, what is asked of it, what was decided, and what was awarded."""

from subsidies.models.application import Application, ApplicationAsk, ApplicationStep
from subsidies.models.award import Award, AwardGrant, Condition, Decision, DecisionGrant, SubsidyProject
from subsidies.models.scheme import FundEntry, Scheme

__all__ = [
    "Application",
    "ApplicationAsk",
    "ApplicationStep",
    "Award",
    "AwardGrant",
    "Condition",
    "Decision",
    "DecisionGrant",
    "FundEntry",
    "Scheme",
    "SubsidyProject",
]
