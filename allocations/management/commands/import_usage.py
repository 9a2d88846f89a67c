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
from django.db import DatabaseError
from django.utils import timezone

from allocations.importing import working
from allocations.importing.receiving import receive
from allocations.models import UsageImport
from allocations.slurm.header import UnreadableExport
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
        parser.add_argument("--from", metavar="INSTANT", help="where the window of sacct began (-S), told like --as-of")
        parser.add_argument("--time-zone", metavar="ZONE", help="zone of times without offset (default: the cluster's)")
        parser.add_argument("--queue", action="store_true", help="only keep the file; the worker imports it")
        parser.add_argument("--json", action="store_true", help="print the counts as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        cluster = known_cluster(options["cluster"])
        zone = known_zone(options["time_zone"]) if options["time_zone"] else None
        as_of, begins = (
            read_instant(options[name], cluster.zone, option=f"--{name.replace('_', '-')}") if options[name] else None
            for name in ("as_of", "from")
        )
        now = timezone.now()
        try:
            with opened(options["file"]) as stream:
                received, _is_new = receive(
                    stream=stream,
                    file_name="standard input" if options["file"] == "-" else Path(options["file"]).name,
                    cluster=cluster,
                    source=UsageImport.Source.COMMAND,
                    at=now,
                    as_of=as_of,
                    covers_from=begins,
                    zone=zone,
                    claimed_by="" if options["queue"] else working.this_worker(),
                )
        except UnreadableExport as error:
            raise CommandError(f"{error} Nothing was written.", returncode=2) from error
        except (DatabaseError, OSError) as error:
            raise CommandError(f"The file could not be kept: {error}. Nothing was written.", returncode=1) from error
        if options["queue"]:
            told = {"import": received.pk, "state": received.state}
            waits = f"Import {received.pk} waits for the worker (manage.py db_worker)."
            self.stdout.write(json.dumps(told) if options["json"] else waits)
            return
        work_on(received, at=now)
        counts = {name: getattr(received, name) for name in COUNTS}
        if options["json"]:
            self.stdout.write(json.dumps(counts))
        else:
            self.stdout.write("\n".join(f"{name}: {number}" for name, number in counts.items()))
        for warning in received.warning.splitlines():
            self.stderr.write(f"Note: {warning}")


def work_on(received: UsageImport, *, at: datetime) -> None:
    """Import what was received. CommandError says what became of it: its file is kept in any case."""
    try:
        working.work_on(received, at=at)
    except UnreadableExport as error:
        sentence = f"{error} Nothing was charged; the file is kept with the failed import {received.pk}."
        raise CommandError(sentence, returncode=2) from error
    except working.ClaimLost as error:
        sentence = f"Another worker has taken up import {received.pk}; the administration shows what becomes of it."
        raise CommandError(sentence, returncode=1) from error
    except (DatabaseError, OSError) as error:
        sentence = (
            f"{error}\nNothing was charged; import {received.pk} keeps the file and is tried again by the worker."
        )
        raise CommandError(sentence, returncode=1) from error


@contextmanager
def opened(file: str) -> Iterator[BinaryIO]:
    """The file in binary, or standard input."""
    if file == "-":
        yield sys.stdin.buffer
    else:
        try:
            stream = Path(file).open("rb")  # noqa: SIM115  closed below; what is read later fails otherwise
        except OSError as error:
            raise CommandError(f"{error}. Nothing was written.", returncode=2) from error
        with stream:
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


def read_instant(text: str, zone: ZoneInfo, *, option: str) -> datetime:
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
        message = f"{option} “{text}” is not an instant such as 2026-11-22T18:00:00. Nothing was written."
        raise CommandError(message, returncode=2) from error
    return instant if instant.tzinfo else instant.replace(tzinfo=zone)
