"""The demo's applications to the subsidy scheme: twenty, of which ten are approved. Days are counted from today."""

from dataclasses import dataclass
from typing import Final

from centre.demo.content import H800, L40S
from subsidies.life_cycle import State


@dataclass(frozen=True)
class CasePlan:
    """One application and what becomes of it.

    `gpus` are the mean numbers of GPUs, by pool, that the hours asked for are sized for, `granted` those approved (by
    default the same). `used_permille`: the hours granted are such that so much of them is used on the day of loading.
    `is_late`: a condition that is due is not met.
    """

    project: str
    received: int
    starts: int
    days: int
    gpus: dict[str, int]
    state: State
    decided: int | None = None
    granted: dict[str, int] | None = None
    used_permille: int | None = None
    rate_bp: int = 7_000
    grounds: str = ""
    reason: str = ""
    conditions: tuple[tuple[str, int | None], ...] = ()
    is_confirmed: bool = True
    joins: bool = False
    title: str = ""
    is_late: bool = False


REPORT: Final = "A progress report every six months, with the figures of use and what came of them."
OPEN_WEIGHTS: Final = "The weights and the evaluation are published under an open licence within the period."
DATA_STAYS: Final = "Patient and government data stay in Hong Kong."
FITS: Final = "The committee finds the work well aligned with Hong Kong's needs and the GPU time asked for reasonable."
LESS: Final = (
    "The committee supports the work; the schedule shows that it can be done with fewer GPU-hours than were asked for."
)

CASES: Final = (
    CasePlan(
        "canto-audio",
        *(-398, -351, 365),
        {H800: 200, L40S: 24},
        State.ACCEPTED,
        decided=-356,
        reason=FITS,
        conditions=((REPORT, -170), (OPEN_WEIGHTS, 13)),
    ),
    CasePlan(
        "civic-scribe",
        *(-390, -338, 365),
        {H800: 150, L40S: 60},
        State.ACCEPTED,
        decided=-342,
        rate_bp=9_000,
        grounds="A tool for every government department, which no supplier offers for Cantonese; the saving in staff "
        "time is shown in the papers.",
        reason=FITS,
        conditions=((DATA_STAYS, None), (REPORT, -155)),
    ),
    CasePlan(
        "endo-vision",
        *(-349, -300, 365),
        {H800: 210},
        State.ACCEPTED,
        decided=-306,
        reason=FITS,
        conditions=((DATA_STAYS, None), (REPORT, -118), (REPORT, 64)),
    ),
    CasePlan(
        "film-upscale",
        *(-322, -270, 180),
        {H800: 60},
        State.NOT_APPROVED,
        decided=-284,
        reason="Rendering of an existing library is not research and development; the full price is reasonable for it.",
    ),
    CasePlan(
        "med-vertical",
        *(-311, -262, 365),
        {H800: 280},
        State.ACCEPTED,
        decided=-268,
        granted={H800: 240},
        reason=LESS,
        conditions=((DATA_STAYS, None), (REPORT, -80)),
    ),
    CasePlan(
        "rainstorm",
        *(-270, -226, 365),
        {H800: 190},
        State.ACCEPTED,
        decided=-231,
        reason=FITS,
        conditions=((REPORT, -44),),
        is_late=True,
    ),
    CasePlan(
        "variant-atlas", *(-258, -200, 365), {H800: 40}, State.WITHDRAWN, decided=-244, reason="Another funder came in."
    ),
    CasePlan(
        "gene-fold",
        *(-250, -205, 270),
        {H800: 60},
        State.ACCEPTED,
        decided=-210,
        used_permille=966,
        reason=FITS,
        conditions=((REPORT, -25),),
    ),
    CasePlan(
        "trilingual-llm",
        *(-244, -190, 548),
        {H800: 360},
        State.ACCEPTED,
        decided=-194,
        granted={H800: 300},
        reason=LESS,
        conditions=((REPORT, -8), (OPEN_WEIGHTS, 357)),
    ),
    CasePlan(
        "egret-translate",
        *(-221, -176, 300),
        {H800: 40},
        State.ACCEPTED,
        decided=-180,
        used_permille=1_043,
        reason=FITS,
        conditions=((REPORT, 4),),
    ),
    CasePlan(
        "warehouse-arm",
        *(-203, -158, 365),
        {H800: 220},
        State.ACCEPTED,
        decided=-164,
        reason=FITS,
        conditions=((REPORT, 24),),
    ),
    CasePlan(
        "call-agents",
        *(-180, -120, 180),
        {L40S: 30},
        State.INELIGIBLE,
        decided=-171,
        reason="The work is for a market outside Hong Kong only; the scheme is not for it.",
    ),
    CasePlan(
        "maths-tutor",
        *(-166, -118, 548),
        {H800: 220, L40S: 60},
        State.ACCEPTED,
        decided=-123,
        reason=FITS,
        conditions=((REPORT, 64),),
        joins=True,
        title="A patient mathematics tutor: from three schools to twenty",
    ),
    CasePlan(
        "port-twin",
        *(-128, -70, 365),
        {H800: 90},
        State.NOT_APPROVED,
        decided=-83,
        reason="The papers do not show why GPU time of this size is needed. A smaller application is welcome.",
    ),
    CasePlan("slope-safety", *(-57, 20, 365), {H800: 80}, State.UNDER_ASSESSMENT, decided=-40),
    CasePlan(
        "tide-survey",
        *(-44, 15, 365),
        {H800: 30},
        State.READY_FOR_COMMITTEE,
        decided=-4,
        reason=FITS,
        conditions=((DATA_STAYS, None), (REPORT, 198)),
        is_confirmed=False,
        joins=True,
        title="Finding drifting objects in harbour images, round the clock",
    ),
    CasePlan("kapok-essay", *(-33, 30, 270), {H800: 16, L40S: 16}, State.UNDER_ASSESSMENT, decided=-15),
    CasePlan(
        "urban-heat",
        *(-24, 40, 365),
        {H800: 110},
        State.CLARIFICATION,
        decided=-13,
        reason="Which part of the data is already licensed?",
    ),
    CasePlan("sign-language", *(-12, 50, 365), {H800: 64}, State.SCREENING, decided=-6),
    CasePlan("egret-minutes", *(-2, 45, 180), {L40S: 24}, State.SUBMITTED),
)
"""In the order of their receipt."""
