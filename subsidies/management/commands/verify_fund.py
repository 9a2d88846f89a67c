"""manage.py verify_fund: recompute the fund's totals from its entries; exit 1 names each difference."""

import sys
from typing import Any

from django.core.management.base import BaseCommand
from django.utils.translation import gettext as _

from subsidies import fund


class Command(BaseCommand):
    help = "Recompute the totals of schemes and awards from the fund's entries. Exit 1 names each difference."

    def handle(self, *_args: Any, **_options: Any) -> None:
        differences = fund.verify_fund()
        for difference in differences:
            self.stderr.write(difference)
        if differences:
            sys.exit(1)
        self.stdout.write(_("The fund's totals agree with its entries."))
