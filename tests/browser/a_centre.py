"""A small centre in use, for the browser: one funded project with two allocations, runs, and people of every kind."""

from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from allocations.models import Allocation
from centre.models import Project, User
from centre.permissions import StaffRole
from subsidies import awards
from tests import make
from tests.subsidies import cases


@dataclass(frozen=True)
class ACentre:
    """What stands in the database; `subsidised` has used 88 of its 1,000 GPU-hours, 8 of them by a run that goes on."""

    project: Project
    lead: User
    subsidised: Allocation
    paid: Allocation


def in_use() -> ACentre:
    """Make it. The usage is that of three days ago and of the last four hours.

    The subsidised hours count from yesterday, so that at any time of day all of it is theirs.
    """
    make.centre(name_en="Harbour Centre", name_zh_hant="海港中心", contact_email="desk@example.org")
    tenant = make.tenant("harbour-u", name_en="Harbour University", name_zh_hant="海港大學")
    pool = make.pool("h800", gpus=64, price=2_000, gpu_model="H800")
    condition = awards.Asked("Report what came of it.", make.today() + timedelta(days=30))
    case = cases.application(
        scheme=cases.scheme(), tenant=tenant, hours={pool: 1_000}, title="Reading old maps", new_project_code="maps"
    )
    yesterday = make.today() - timedelta(days=1)
    award = cases.award(decision=cases.decision(application=case, conditions=[condition], starts_on=yesterday))
    subsidised = award.grants.select_related("allocation__pool__cluster").get().allocation
    paid = make.allocation(
        project=award.project, pool=pool, hours=50, account="maps-paid", funding=Allocation.Funding.PURCHASED
    )
    assert case.lead is not None
    now = timezone.now().replace(microsecond=0)
    make.imported(
        make.run(allocation=paid, hours=5, gpus=1, start_at=now - timedelta(days=3), name="=SUM(A1:A9)"),
        make.run(allocation=subsidised, hours=1, gpus=80, start_at=now - timedelta(hours=4), name="<b>訓練</b>"),
        make.run(allocation=subsidised, gpus=4, start_at=now - timedelta(hours=2), name="serve", running=True),
        cluster=pool.cluster,
        as_of=now,
    )
    subsidised.refresh_from_db()
    paid.refresh_from_db()
    return ACentre(award.project, case.lead, subsidised, paid)


def people(of: ACentre) -> dict[str, User | None]:
    """Who looks at it; None is somebody who has not signed in."""
    return {
        "public": None,
        "lead": of.lead,
        "representative": make.representative(tenant=of.project.tenant),
        "management": make.staff(StaffRole.MANAGEMENT),
        "officer": make.staff(StaffRole.ALLOCATION_OFFICER),
    }
