"""manage.py load_sandbox"""

from argparse import ArgumentTypeError
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from django_socialgrants.conf import conf
from django_socialgrants.sandbox.applications import CredentialsInUse, default_origins, load
from django_socialgrants.sandbox.logins import LOGINS
from django_socialgrants.sandbox.models import Application
from django_socialgrants.sandbox.networks import NETWORKS, Rotation


class Command(BaseCommand):
    help = "Registers one application per network in the sandbox and gives the site its credentials."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--origin",
            action="append",
            type=_origin,
            help=(
                "Where the site is, as its visitors see it, such as http://localhost:8000; may be repeated. "
                "Default: the host of SOCIALGRANTS_SANDBOX_URL, as localhost and as 127.0.0.1."
            ),
        )

        parser.add_argument(
            "--rotation",
            action="append",
            default=[],
            type=_rotation,
            metavar="NAME=MODE",
            help=(
                "How a network treats refresh tokens, such as mailru=grace; may be repeated. fixed: they stay; "
                "grace: they rotate, the old one works for a minute; strict: the old one ends the new one, too."
            ),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        origins = options["origin"]
        if not origins:
            if not conf.SANDBOX_URL:
                raise CommandError(_("Set SOCIALGRANTS_SANDBOX_URL, or say where the site is with --origin."))
            origins = default_origins(conf.SANDBOX_URL)
        try:
            applications = load(origins, dict(options["rotation"]))
        except CredentialsInUse as error:
            text = _(
                "The credentials “%(name)s” belong to another application, maybe a real one, and were left as "
                "they are. Rename or delete them to use the sandbox."
            )
            raise CommandError(text % {"name": error}) from None
        if options["verbosity"] > 0:
            self.describe(applications)

    def describe(self, applications: Iterable[Application]) -> None:
        for application in applications:
            names = {"network": NETWORKS[application.network].title, "client_id": application.client_id}
            text = _("%(network)s: application %(client_id)s may send visitors back to these addresses:")
            self.stdout.write(text % names)
            for redirect_uri in application.redirect_uris:
                self.stdout.write(f"  {redirect_uri}")
            logins = LOGINS.get(application.network, {})
            if logins:
                self.stdout.write(f"  {_('User names and passwords for the password grant:')}")
            for login in logins.values():
                told = login.password or _("(any password: %s)") % login.trouble
                self.stdout.write(f"    {login.user_name}  {told}")


def _origin(value: str) -> str:
    """Scheme, host and port, as in RFC 6454, with or without a final slash."""
    parts = urlsplit(value)
    address = value.removesuffix("/")
    if (
        parts.scheme not in ("http", "https")
        or address != f"{parts.scheme}://{parts.netloc}"
        or not parts.netloc
    ):
        raise ArgumentTypeError(f"not an origin like http://localhost:8000: {value}")
    return address


def _rotation(value: str) -> tuple[str, Rotation]:
    name, _equals, mode = value.partition("=")
    if name not in NETWORKS or mode not in list(Rotation):
        known = f"{'/'.join(NETWORKS)}={'/'.join(Rotation)}"
        raise ArgumentTypeError(f"not {known}: {value}")
    return name, Rotation(mode)
