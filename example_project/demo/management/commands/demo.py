from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, call_command


class Command(BaseCommand):
    help = "Sets up a database, fills it with what the example needs, and serves the example."
    requires_system_checks = []  # runserver makes them, once the database is there

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("port", nargs="?", type=int, default=8000, help="port on 127.0.0.1 (8000)")

    def handle(self, *args: Any, port: int, verbosity: int, **options: Any) -> None:
        origin = f"http://127.0.0.1:{port}"
        call_command("migrate", verbosity=verbosity - 1)
        if settings.SANDBOX:
            settings.SOCIALGRANTS_SANDBOX_URL = f"http://localhost:{port}/sandbox"
            call_command("load_sandbox", verbosity=verbosity - 1)
        else:
            call_command("sync_credentials", verbosity=verbosity - 1)
        self.stdout.write(self.style.SUCCESS(f"\nOpen {origin}/ and log in. Stop with Ctrl-C.\n"))
        call_command("runserver", f"127.0.0.1:{port}", use_reloader=False)
