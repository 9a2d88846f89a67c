"""Who is in the demo: machines, tenants, projects and their teams, staff. Days count from the day of loading.

All organisations and people are invented; of the two sites only the names are real.
"""

from dataclasses import dataclass
from typing import Final

from allocations.models import Allocation
from centre.demo.texts import Trilingual
from centre.models.tenants import TenantCategory
from centre.permissions import StaffRole

H800: Final = "h800"
L40S: Final = "l40s"
CLUSTER: Final = "cyberport"
PLANNED_CLUSTER: Final = "sandyridge"
OPENED: Final = -690
BOOKS_BEGIN: Final = -365  # the first day of the job history

# ---------------------------------------------------------------------------------------------- machines


@dataclass(frozen=True)
class PoolPlan:
    """A GPU pool: what is in service from which day on, and its list prices (cents per GPU-hour)."""

    code: str
    gpu_model: str
    cluster: str
    capacity: tuple[tuple[int, int, str], ...]
    prices: tuple[tuple[int, int], ...] = ()


POOLS: Final = (
    PoolPlan(
        H800,
        "NVIDIA H800",
        CLUSTER,
        (
            (OPENED, 512, "Trial operation"),
            (-520, 1_296, "First phase"),
            (-196, 1_584, "Second phase, first delivery"),
            (-160, 2_112, "Second phase, complete"),
        ),
        ((OPENED, 24_00), (-140, 22_50)),
    ),
    PoolPlan(
        L40S,
        "NVIDIA L40S",
        CLUSTER,
        (
            (OPENED, 192, "Trial operation"),
            (-290, 288, "More nodes for inference"),
            (-160, 320, "Second phase"),
            (22, 208, "Racks make room for the new cooling plant"),  # fewer than are promised by then
            (78, 320, "The racks are back"),
        ),
        ((OPENED, 8_80), (-140, 8_00)),
    ),
    PoolPlan(
        "sandyridge-1",
        "next-generation",
        PLANNED_CLUSTER,
        ((310, 1_024, "First hall, planned"), (500, 2_048, "Second hall, planned")),
    ),
)


@dataclass(frozen=True)
class OutagePlan:
    """GPUs out of service: from an hour of a day on, for some hours."""

    pool: str
    gpus: int
    day: int
    hour: int
    hours: int
    reason: str


OUTAGES: Final = (
    OutagePlan(H800, 128, -17, 2, 14, "A chilled-water pump in hall A was replaced"),
    OutagePlan(H800, 528, 11, 22, 8, "Planned maintenance of the power supply in hall B"),
)

# ---------------------------------------------------------------------------------------------- tenants


@dataclass(frozen=True)
class TenantPlan:
    code: str
    category: TenantCategory
    name: Trilingual
    has_signatory: bool = False


C = TenantCategory
TENANTS: Final = (
    TenantPlan("lion-rock-u", C.UNIVERSITY, Trilingual("Lion Rock University", "獅子山大學", "狮子山大学"), True),
    TenantPlan(
        "lantau-ust",
        C.UNIVERSITY,
        Trilingual("Lantau University of Science and Arts", "大嶼文理大學", "大屿文理大学"),
    ),
    TenantPlan(
        "harbour-voice",
        C.RESEARCH_INSTITUTE,
        Trilingual("Harbour Voice and Language Research Centre", "維港語音及語言研究中心", "维港语音及语言研究中心"),
        True,
    ),
    TenantPlan(
        "pearl-climate",
        C.RESEARCH_INSTITUTE,
        Trilingual("Pearl Estuary Institute for Climate Computing", "珠江口氣候計算研究所", "珠江口气候计算研究所"),
    ),
    TenantPlan(
        "tai-mo-med",
        C.RESEARCH_INSTITUTE,
        Trilingual("Tai Mo Shan Institute for Medical AI", "大帽山醫學人工智能研究所", "大帽山医学人工智能研究所"),
    ),
    TenantPlan(
        "eastern-quay",
        C.ENTERPRISE,
        Trilingual("Eastern Quay Robotics Limited", "東堤機械人有限公司", "东堤机械人有限公司"),
    ),
    TenantPlan(
        "harbourlight",
        C.ENTERPRISE,
        Trilingual("Harbourlight Animation Limited", "港光動畫製作有限公司", "港光动画制作有限公司"),
        True,
    ),
    TenantPlan(
        "peng-insurance",
        C.ENTERPRISE,
        Trilingual("Peng Chau Mutual Insurance Limited", "坪洲互惠保險有限公司", "坪洲互惠保险有限公司"),
    ),
    TenantPlan(
        "lamma-freight",
        C.ENTERPRISE,
        Trilingual("Lamma Freight Planning Limited", "南丫貨運規劃有限公司", "南丫货运规划有限公司"),
    ),
    TenantPlan(
        "little-egret",
        C.START_UP,
        Trilingual("Little Egret AI Limited", "小白鷺人工智能有限公司", "小白鹭人工智能有限公司"),
    ),
    TenantPlan(
        "mango-tree",
        C.START_UP,
        Trilingual("Mango Tree Genomics Limited", "芒果樹基因科技有限公司", "芒果树基因科技有限公司"),
    ),
    TenantPlan(
        "cloud-kapok",
        C.START_UP,
        Trilingual("Cloud Kapok Education Limited", "雲上木棉教育科技有限公司", "云上木棉教育科技有限公司"),
    ),
    TenantPlan(
        "public-enquiry",
        C.GOVERNMENT_DEPARTMENT,
        Trilingual("Public Enquiry Services Department (invented)", "公眾查詢服務署（虛構）", "公众查询服务署（虚构）"),
        True,
    ),
    TenantPlan(
        "harbour-survey",
        C.GOVERNMENT_DEPARTMENT,
        Trilingual("Harbour Waters Survey Office (invented)", "海港水域測量處（虛構）", "海港水域测量处（虚构）"),
    ),
    TenantPlan(
        "operator",
        C.PUBLIC_BODY,
        Trilingual(
            "Supercomputing Operations Company (the operator)", "超算營運公司（營運者）", "超算营运公司（营运者）"
        ),
    ),
)

# ---------------------------------------------------------------------------------------------- projects


@dataclass(frozen=True)
class TeamPlan:
    """A project and its team: one lead, and so many managers, members and viewers; `short` is in people's names."""

    code: str
    tenant: str
    short: str
    title: str
    summary: str = ""
    managers: int = 0
    members: int = 2
    viewers: int = 0
    unknown_user: str = ""

    @property
    def cluster_users(self) -> tuple[str, ...]:
        """User names on the cluster: the lead's, the members', and one that nobody has claimed."""
        stem = self.code.replace("-", "")[:10]
        named = tuple(f"{stem}{number:02}" for number in range(self.members + 1))
        return (*named, self.unknown_user) if self.unknown_user else named


TEAMS: Final = (
    TeamPlan(
        "canto-audio",
        "harbour-voice",
        "Cantonese Audio",
        "A foundation model for Cantonese speech and audio",
        "One model that hears, understands and speaks Cantonese, with everyday code-switching.",
        managers=1,
        members=4,
        viewers=1,
        unknown_user="visiting-scholar",
    ),
    TeamPlan(
        "civic-scribe",
        "public-enquiry",
        "Civic Scribe",
        "會議紀錄轉寫：粵語、普通話及英語",
        "為政府部門會議而設的三語轉寫及摘要工具。",
        managers=1,
        members=3,
        viewers=2,
    ),
    TeamPlan(
        "endo-vision",
        "tai-mo-med",
        "Endoscopy Vision",
        "Early lesions in endoscopy video",
        "Video models that point out what a tired eye may miss, tested with three hospitals.",
        managers=1,
        members=3,
    ),
    TeamPlan(
        "med-vertical",
        "lion-rock-u",
        "Medical Models",
        "Medical language models for Hong Kong's clinics",
        "Models for letters, discharge notes and questions in three languages.",
        managers=1,
        members=4,
        viewers=1,
    ),
    TeamPlan(
        "rainstorm",
        "pearl-climate",
        "Rainstorm",
        "Rainstorm nowcasting for the Pearl River Estuary",
        "Six-hour rain forecasts at one kilometre, learned from radar and ensembles.",
        members=3,
        viewers=1,
    ),
    TeamPlan(
        "trilingual-llm",
        "lantau-ust",
        "Trilingual Model",
        "An open trilingual foundation model",
        "Weights, data recipe and evaluation of a model that is at home in Chinese, Cantonese and English.",
        managers=2,
        members=5,
        viewers=1,
        unknown_user="hpc-trainee",
    ),
    TeamPlan(
        "warehouse-arm",
        "eastern-quay",
        "Warehouse Arm",
        "Robot arms that learn from a few demonstrations",
        "Policies for picking and packing, trained in simulation and tried in a warehouse.",
        managers=1,
        members=3,
    ),
    TeamPlan(
        "maths-tutor",
        "lion-rock-u",
        "Maths Tutor",
        "A patient mathematics tutor for secondary schools",
        "Begun as a proof of concept, now with twenty schools.",
        members=3,
        viewers=1,
    ),
    TeamPlan(
        "gene-fold",
        "mango-tree",
        "Gene Fold",
        "Protein structures for rare inherited diseases",
        "Structure prediction for variants found in local families.",
        managers=1,
        members=2,
    ),
    TeamPlan(
        "egret-translate",
        "little-egret",
        "Egret Translate",
        "Live interpretation between Cantonese and English",
        "Speech in, speech out, in less than a second.",
        members=2,
    ),
    TeamPlan(
        "harbourlight-render",
        "harbourlight",
        "Harbourlight",
        "Style transfer and rendering for an animated series",
        "Paid in full; not part of the subsidy scheme.",
        managers=1,
        members=2,
    ),
    TeamPlan("claims-reader", "peng-insurance", "Claims Reader", "Reading insurance claims and medical receipts"),
    TeamPlan(
        "route-planner", "lamma-freight", "Route Planner", "Planning of freight routes across the boundary", members=1
    ),
    TeamPlan("kapok-reading", "cloud-kapok", "Kapok Reading", "中文閱讀理解評估：概念驗證", members=1),
    TeamPlan("tide-survey", "harbour-survey", "Tide Survey", "Finding drifting objects in harbour images", members=1),
    TeamPlan(
        "acceptance",
        "operator",
        "Acceptance Tests",
        "Acceptance tests and benchmarks",
        "The operator's own runs: new nodes, new software, nightly benchmarks.",
        members=1,
    ),
    TeamPlan("subtitle-trial", "harbourlight", "Subtitle Trial", "Automatic subtitles: a three-month trial", members=1),
    TeamPlan("campus-archive", "lantau-ust", "Campus Archive", "校園檔案數碼化：手寫文字辨識", members=1),
    # applied, and not (or not yet) approved
    TeamPlan("film-upscale", "harbourlight", "Film Upscale", "Upscaling a film library to 8K", members=0),
    TeamPlan("port-twin", "lamma-freight", "Port Twin", "A digital twin of a container terminal", members=0),
    TeamPlan("variant-atlas", "mango-tree", "Variant Atlas", "An atlas of genetic variants in South China", members=0),
    TeamPlan("call-agents", "peng-insurance", "Call Agents", "Sales agents for overseas call centres", members=0),
    TeamPlan("kapok-essay", "cloud-kapok", "Kapok Essay", "中文作文批改模型", members=0),
    TeamPlan("slope-safety", "lion-rock-u", "Slope Safety", "Slope safety from satellite and drone images", members=0),
    TeamPlan("sign-language", "lantau-ust", "Sign Language", "Hong Kong Sign Language recognition", members=0),
    TeamPlan("urban-heat", "pearl-climate", "Urban Heat", "Street-level heat forecasts for the city", members=0),
    TeamPlan("egret-minutes", "little-egret", "Egret Minutes", "Minutes of meetings on a telephone", members=0),
)
BEFORE_AN_AWARD: Final = frozenset(
    {
        *("maths-tutor", "harbourlight-render", "claims-reader", "route-planner", "kapok-reading", "tide-survey"),
        *("acceptance", "subtitle-trial", "campus-archive"),
    }
)
"""Projects that the tenant officer registers; those of approved applications come with their award."""

# ---------------------------------------------------------------------------------------------- outside the scheme


@dataclass(frozen=True)
class GivenPlan:
    """An allocation given outside the scheme; `gpus` is the mean number of GPUs that its hours are sized for."""

    project: str
    pool: str
    funding: Allocation.Funding
    gpus: int
    start: int
    days: int
    account: str = ""


F = Allocation.Funding
GIVEN: Final = (
    GivenPlan("acceptance", H800, F.INTERNAL, 40, -365, 730),
    GivenPlan("acceptance", L40S, F.INTERNAL, 14, -365, 335),
    GivenPlan("acceptance", L40S, F.INTERNAL, 14, -30, 365),
    GivenPlan("harbourlight-render", H800, F.PURCHASED, 90, -280, 365),
    GivenPlan("harbourlight-render", L40S, F.PURCHASED, 80, -280, 365),
    GivenPlan("route-planner", L40S, F.PURCHASED, 48, -240, 365),
    GivenPlan("subtitle-trial", L40S, F.PROOF_OF_CONCEPT, 6, -230, 92),
    GivenPlan("maths-tutor", L40S, F.PROOF_OF_CONCEPT, 8, -205, 86),
    GivenPlan("claims-reader", H800, F.PURCHASED, 60, -130, 365),
    GivenPlan("trilingual-llm", H800, F.PURCHASED, 24, -60, 180, "trilingual-llm-paid"),
    GivenPlan("kapok-reading", L40S, F.PROOF_OF_CONCEPT, 6, -52, 92),
    GivenPlan("tide-survey", L40S, F.PROOF_OF_CONCEPT, 8, -40, 92),
    GivenPlan("campus-archive", L40S, F.PROOF_OF_CONCEPT, 5, -48, 120),  # which nobody has used yet
)

# ---------------------------------------------------------------------------------------------- staff


@dataclass(frozen=True)
class StaffPlan:
    key: str
    name: str
    role: StaffRole


FIRST_OFFICERS: Final = (
    StaffPlan("administrator", "Demo administrator", StaffRole.ADMINISTRATOR),
    StaffPlan("administrator.two", "Second demo administrator", StaffRole.ADMINISTRATOR),
)
STAFF: Final = (
    StaffPlan("tenant.officer", "Demo tenant officer", StaffRole.TENANT_OFFICER),
    StaffPlan("allocation.officer", "Demo allocation officer", StaffRole.ALLOCATION_OFFICER),
    StaffPlan("allocation.officer.two", "Second demo allocation officer", StaffRole.ALLOCATION_OFFICER),
    StaffPlan("secretary", "Demo subsidy secretary", StaffRole.SUBSIDY_SECRETARY),
    StaffPlan("committee.member", "Demo committee member", StaffRole.COMMITTEE_MEMBER),
    StaffPlan("chair", "Demo committee chair", StaffRole.COMMITTEE_CHAIR),
    StaffPlan("finance.officer", "Demo finance officer", StaffRole.FINANCE_OFFICER),
    StaffPlan("management", "Demo management", StaffRole.MANAGEMENT),
    StaffPlan("auditor", "Demo auditor", StaffRole.AUDITOR),
)
