"""`manage.py export_report NAME [--from DAY] [--to DAY] [-o FILE]`: a report as CSV; `--list` names them."""

import errno
import os
from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from centre import registry
from centre.exports import BadDay, csv_chunks, read_days


class Command(BaseCommand):
    help = "Writes a report as CSV, to standard output or to a file. Both days are included."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", nargs="?", metavar="NAME", help="the report; --list shows the names")
        parser.add_argument("--list", action="store_true", help="list the reports, one a line, the name first")
        parser.add_argument("--from", dest="from_text", metavar="DAY", help="the first day, as YYYY-MM-DD")
        parser.add_argument("--to", dest="to_text", metavar="DAY", help="the last day, as YYYY-MM-DD; it is included")
        parser.add_argument(
            "-o", "--output", metavar="FILE", help="the file, whole or not at all; - is standard output"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["list"]:
            width = max(map(len, registry.reports), default=0)
            self.print(f"{listed.name:<{width}}  {listed.title}\n".encode() for listed in registry.reports.values())
            return
        report = registry.reports.get(options["name"] or "")
        if report is None:
            named = f"There is no report “{options['name']}”." if options["name"] else "Name the report to export."
            raise CommandError(f"{named} There are: {', '.join(registry.reports)}.", returncode=2)
        try:
            parameters = read_days(options["from_text"], options["to_text"])
        except BadDay as error:
            raise CommandError(str(error), returncode=2) from error
        chunks = csv_chunks(report, parameters)
        if options["output"] and options["output"] != "-":
            try:
                write_whole(Path(options["output"]), chunks)
            except OSError as error:
                reason = error.strerror or error
                raise CommandError(f"{options['output']} cannot be written: {reason}.", returncode=2) from error
        else:
            self.print(chunks)

    def print(self, chunks: Iterable[bytes]) -> None:
        """Write bytes to standard output; as text where a caller has put a stream of text in its place."""
        binary = getattr(self.stdout, "buffer", None)
        try:
            for chunk in chunks:
                if binary is None:
                    self.stdout.write(chunk.decode(), ending="")
                else:
                    binary.write(chunk)
            self.stdout.flush()
        except OSError as error:
            forget(self.stdout.fileno())
            reason = error.strerror or error
            raise CommandError(f"Standard output cannot be written: {reason}.", returncode=2) from error


def forget(descriptor: int) -> None:
    """Let what could not be written go nowhere, else Python tries again when it ends, and shows a traceback."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def write_whole(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file so that at every moment either the old one or the whole new one stands under its name."""
    target = path.resolve()
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
