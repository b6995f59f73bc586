"""manage.py password_grant NAME USERNAME --user DJANGO_USERNAME"""

import getpass
import sys
import warnings
from argparse import ArgumentTypeError
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from django_socialgrants.flows.password import NotGranted, grant_access
from django_socialgrants.oauth.values import Secret


class Command(BaseCommand):
    help = (
        "Gets a token for somebody's user name and password at a network, and stores it for a user of this site. "
        "Exit status: 1 the network refused or is not available, 2 configuration or usage."
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """No abbreviations: --password would be one, and look as if it took the password."""
        return super().create_parser(prog_name, subcommand, allow_abbrev=False, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", type=_text, help="Name of the ProviderCredentials.")
        parser.add_argument("username", metavar="USERNAME", type=_text, help="Who logs in at the network.")
        parser.add_argument(
            "--user", metavar="DJANGO_USERNAME", type=_text, required=True, help="Whose token it becomes."
        )
        parser.add_argument(
            "--scope",
            default="",
            help="Permissions to ask for, separated by spaces; else the credentials' scope.",
        )
        parser.add_argument(
            "--password-stdin",
            action="store_true",
            help="Take the first line of stdin as password; else prompt.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        warning = _(
            "RFC 9700 (section 2.4) advises against the password grant: it shows a password to others than the "
            "network. Use it only where nothing else works. Mail.Ru enables it for single applications."
        )
        self.stderr.write(warning, self.style.WARNING)
        try:
            token = grant_access(
                options["name"],
                options["username"],
                _first_line if options["password_stdin"] else _prompt,
                user=options["user"],
                scope=options["scope"],
            )
        except NotGranted as error:
            raise CommandError(str(error), returncode=error.status) from None
        self.stdout.write(f"uid {token.uid}, expires {token.expires_at:%Y-%m-%dT%H:%M:%S%z}")


def _first_line() -> Secret:
    if sys.stdin.isatty():  # where it would be seen
        return _prompt()
    return _checked(_read(sys.stdin.readline))


def _prompt() -> Secret:
    """Typed on the terminal, without echo: getpass would rather show it than do without, and warns of that."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return _checked(_read(lambda: getpass.getpass(_("Password: "))))
        except getpass.GetPassWarning:
            problem, status = _("There is no terminal to ask for the password. Use --password-stdin."), 2
        except EOFError:
            return Secret()
        except KeyboardInterrupt:
            problem, status = _("Cancelled."), 130
    raise CommandError(problem, returncode=status)


def _read(read: Callable[[], str]) -> Secret | None:
    """A line, wrapped at once; None if it is no text: errors that say so hold it in clear, and end here."""
    with suppress(UnicodeError):
        line = read().rstrip("\r\n")
        line.encode()
        return Secret(line)
    return None


def _checked(password: Secret | None) -> Secret:
    if password is None:
        raise CommandError(_("The password is not valid text."), returncode=2)
    return password


def _text(argument: str) -> str:
    """An argument that can be sent and looked up."""
    with suppress(UnicodeError):
        argument.encode()
        if argument:
            return argument
    raise ArgumentTypeError("must be text and not empty")
