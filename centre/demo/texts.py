"""What the invented centre says of itself, in the three languages of the portal."""

from typing import Final, NamedTuple


class Trilingual(NamedTuple):
    """One text in English, Traditional and Simplified Chinese."""

    en: str
    zh_hant: str
    zh_hans: str

    def fields(self, name: str) -> dict[str, str]:
        """The columns `name_en`, `name_zh_hant` and `name_zh_hans` of a row."""
        return {f"{name}_en": self.en, f"{name}_zh_hant": self.zh_hant, f"{name}_zh_hans": self.zh_hans}


CENTRE: Final = Trilingual(
    "AI Supercomputing Centre (demonstration)", "人工智能超算中心（示範）", "人工智能超算中心（示范）"
)
INTRODUCTION: Final = Trilingual(
    "The centre rents out GPU time to universities, research institutes, enterprises, start-ups and public bodies, and "
    "runs the subsidy scheme that pays part of it. This is a demonstration: every organisation, person, price and "
    "figure here is invented.",
    "本中心向大學、研究機構、企業、初創公司及公營機構提供圖形處理器（GPU）算力租用服務，並營運資助部分費用的計劃。"
    "本網站為示範系統，所有機構、人物、價格及數字均屬虛構。",
    "本中心向大学、研究机构、企业、初创公司及公营机构提供图形处理器（GPU）算力租用服务，并营运资助部分费用的计划。"
    "本网站为示范系统，所有机构、人物、价格及数字均属虚构。",
)
CONTACT: Final = "service.desk@example.org"
CYBERPORT: Final = Trilingual("Cyberport", "數碼港", "数码港")
SANDY_RIDGE: Final = Trilingual("Sandy Ridge", "沙嶺", "沙岭")

SCHEME: Final = Trilingual("AI Subsidy Scheme (demonstration)", "人工智能資助計劃（示範）", "人工智能资助计划（示范）")
HOW_TO_APPLY: Final = Trilingual(
    "Applications are welcome all year round. Say what you want to build, how many GPU-hours you need on which GPUs "
    "and for how long, and write to the service desk. A committee looks at how well the work fits Hong Kong's needs "
    "in innovation and technology, and whether the GPU time asked for is reasonable.",
    "全年接受申請。請說明研發項目的內容、所需的 GPU 型號與時數，以及使用期，並聯絡服務台。委員會會考慮項目是否切合香港"
    "創新科技發展的需要，以及所申請的算力是否合理。",
    "全年接受申请。请说明研发项目的内容、所需的 GPU 型号与时数，以及使用期，并联络服务台。委员会会考虑项目是否切合香港"
    "创新科技发展的需要，以及所申请的算力是否合理。",
)
