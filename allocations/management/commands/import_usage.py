"""`manage.py import_usage --cluster CODE FILE`: bring in a cluster's usage from a sacct export."""

import json
import re
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from allocations.usage import UnreadableExport, import_usage
from centre.models import Cluster

EPOCH_SECONDS = re.compile(r"[0-9]{9,10}")  # from 1973 on
BEGINS_WITH_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
COUNTS = ("read", "accepted", "unchanged", "ignored", "quarantined", "unmatched", "charged_gpu_seconds")


class Command(BaseCommand):
    help = "Import the output of “sacct -a -X -P --duplicates” of a cluster. FILE “-” reads standard input."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", help="the export, or - for standard input")
        parser.add_argument("--cluster", required=True, metavar="CODE", help="the cluster's name in Slurm")
        parser.add_argument("--as-of", metavar="INSTANT", help="when sacct ran; without offset in the cluster's zone")
        parser.add_argument("--time-zone", metavar="ZONE", help="zone of times without offset (default: the cluster's)")
        parser.add_argument("--json", action="store_true", help="print the counts as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        cluster = known_cluster(options["cluster"])
        zone = known_zone(options["time_zone"]) if options["time_zone"] else None
        as_of = read_instant(options["as_of"], cluster.zone) if options["as_of"] else None
        try:
            with opened(options["file"]) as stream:
                done = import_usage(
                    stream=stream,
                    file_name="standard input" if options["file"] == "-" else Path(options["file"]).name,
                    cluster=cluster,
                    at=timezone.now(),
                    as_of=as_of,
                    zone=zone,
                )
        except (UnreadableExport, OSError) as error:
            raise CommandError(f"{error} Nothing was written.", returncode=2) from error
        counts = {name: getattr(done, name) for name in COUNTS}
        if options["json"]:
            self.stdout.write(json.dumps(counts))
        else:
            self.stdout.write("\n".join(f"{name}: {number}" for name, number in counts.items()))
        for warning in done.warning.splitlines():
            self.stderr.write(f"Note: {warning}")


@contextmanager
def opened(file: str) -> Iterator[BinaryIO]:
    """The file in binary, or standard input."""
    if file == "-":
        yield sys.stdin.buffer
    else:
        with Path(file).open("rb") as stream:
            yield stream


def known_cluster(code: str) -> Cluster:
    cluster = Cluster.objects.filter(code=code).first()
    if cluster is None:
        known = ", ".join(Cluster.objects.values_list("code", flat=True)) or "none yet"
        raise CommandError(f"There is no cluster “{code}”. Known: {known}. Nothing was written.", returncode=2)
    return cluster


def known_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: a region without a city is a folder
        message = f"“{name}” is not a time zone such as Asia/Hong_Kong or UTC. Nothing was written."
        raise CommandError(message, returncode=2) from error


def read_instant(text: str, zone: ZoneInfo) -> datetime:
    """An instant in ISO form or epoch seconds; without an offset it is in the zone.

    20250202 is neither: as epoch seconds it would be in 1970, and a day without hyphens is no instant.
    """
    try:
        if EPOCH_SECONDS.fullmatch(text):
            instant = datetime.fromtimestamp(int(text), zone)
        elif BEGINS_WITH_DAY.match(text):
            instant = datetime.fromisoformat(text)
        else:
            raise ValueError(text)
    except (ValueError, OverflowError, OSError) as error:
        message = f"--as-of “{text}” is not an instant such as 2026-11-22T18:00:00. Nothing was written."
        raise CommandError(message, returncode=2) from error
    return instant if instant.tzinfo else instant.replace(tzinfo=zone)
