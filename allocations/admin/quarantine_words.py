"""Why records are quarantined, and what an officer can do about it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from allocations import charging, merging
from allocations.slurm import instants, records

REASONS: Final = (
    *(records.TOO_FEW_FIELDS, records.TOO_MANY_FIELDS, records.CUT_SHORT, records.OTHER_EXPORT, records.OTHER_CLUSTER),
    *(records.BAD_CHARACTERS, records.BAD_JOB_ID, records.BAD_DB_INDEX, records.NO_SUBMIT, records.NO_ACCOUNT),
    *(records.NO_STATE, records.TOO_LONG, records.ENDS_BEFORE_START, instants.BAD_TIME, instants.ABSURD_TIME),
    *(charging.GPUS_NOT_A_NUMBER, charging.GPUS_NEGATIVE, charging.GPUS_TOO_MANY, charging.GPUS_NAMED_TWICE),
    *(charging.GPUS_WITHOUT_TYPE, charging.GPUS_EXCEED_TOTAL, merging.TWO_RUNS, merging.BEYOND_ITS_EXPORT),
)
"""Every reason for which a record is not imported, an English sentence of the catalogue each."""

ADVICE: Final[Mapping[str, str | Promise]] = MappingProxyType(
    {
        records.CUT_SHORT: _(
            "The file broke off. A newer export of the same days tells the record whole, and then this one can be set "
            "aside; or complete it from “sacct -j”."
        ),
        records.OTHER_EXPORT: _(
            "Two exports stand in one file. Take them apart and import the second as a file of its own; then set this "
            "one aside."
        ),
        records.OTHER_CLUSTER: _(
            "Import it for the cluster that it names, and set it aside here. Do not write another cluster into it."
        ),
        records.TOO_FEW_FIELDS: _("See below which fields it has. If it is the rest of a longer text, set it aside."),
        records.TOO_MANY_FIELDS: _(
            "See below where it goes wrong: a text in it may hold the delimiter. If it could be forged, set it aside."
        ),
        records.ENDS_BEFORE_START: _("Ask Slurm for the true times (“sacct -j”) and write them in."),
        merging.BEYOND_ITS_EXPORT: _("Ask Slurm for the true times (“sacct -j”) and write them in."),
        merging.TWO_RUNS: _(
            "Two runs are known that it could be: one has its database index, the other its number and submission. If "
            "its database index is wrong, take that field’s text out: it is then read as the run of its number and "
            "submission. If you cannot tell, set it aside: the next export of the run tells it again."
        ),
    }
)
"""What an officer can do about a reason, where the reason does not say it."""
