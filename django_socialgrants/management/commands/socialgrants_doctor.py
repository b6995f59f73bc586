"""manage.py socialgrants_doctor [NAME ...]"""

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from django_socialgrants.exceptions import UnknownCredentials
from django_socialgrants.management.doctor.examination import examine
from django_socialgrants.management.doctor.findings import Finding, Status


class Command(BaseCommand):
    help = (
        "Tells why people can't log in: asks this site and the live networks step by step, and says what to do. "
        "Exit status: 0 all is well, maybe with warnings; 1 a step failed."
    )
    requires_system_checks = []  # they are its first step

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("names", nargs="*", metavar="NAME", help="Applications to look into; else all.")
        parser.add_argument(
            "--user",
            metavar="DJANGO_USERNAME",
            default="",
            help="Make a signed call in the name of this user, too.",
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON document.")

    def handle(self, *args: Any, names: list[str], **options: Any) -> None:
        found = []
        try:
            for finding in examine(names, username=options["user"]):
                found.append(finding)
                if not options["json"]:
                    self.tell(finding)
        except UnknownCredentials as error:
            raise CommandError(str(error)) from None
        failed = any(finding.status is Status.FAILED for finding in found)
        if options["json"]:
            document = {"steps": [finding.to_json() for finding in found], "exit": int(failed)}
            self.stdout.write(json.dumps(document, ensure_ascii=False, indent=2))
        if failed:
            sys.exit(1)

    def tell(self, finding: Finding) -> None:
        styles = {
            Status.OK: self.style.SUCCESS,
            Status.WARNING: self.style.WARNING,
            Status.FAILED: self.style.ERROR,
        }
        marks = {Status.OK: _("ok"), Status.WARNING: _("warning"), Status.FAILED: _("failed")}
        place = f"{finding.application}: " if finding.application else ""
        mark = styles[finding.status](f"[{marks[finding.status]}]")
        self.stdout.write(f"{mark} {place}{finding.text}")
        if finding.fix:
            self.stdout.write(f"    {finding.fix}")
