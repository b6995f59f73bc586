"""Refreshing a handful of tokens while somebody waits for the page."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from time import monotonic

from django.contrib import messages
from django.utils.translation import gettext as _
from django.utils.translation import ngettext_lazy

from django_socialgrants.conf import conf
from django_socialgrants.events import Event, log
from django_socialgrants.exceptions import NeedsLogin, SocialGrantsError
from django_socialgrants.flows.refresh import renewed
from django_socialgrants.models import UserToken

MOST = 50
"""Tokens that a web request may ask for; `manage.py refresh_tokens` takes any number."""


@dataclass
class Outcome:
    """How many tokens met each fate; `problems` are what went wrong, each once."""

    refreshed: int = 0
    needs_login: int = 0
    fixed: int = 0
    """Those that nothing but a new grant can prolong: they are left as they are."""
    failed: int = 0
    postponed: int = 0
    """Not tried, as time was up."""
    problems: list[str] = field(default_factory=list)

    def fail(self, problem: str) -> None:
        self.failed += 1
        if problem not in self.problems:
            self.problems.append(problem)

    def messages(self) -> Iterator[tuple[int, str]]:
        """Level and sentence for each fate that was met."""
        told = [
            (
                messages.SUCCESS,
                self.refreshed,
                ngettext_lazy("%(count)d token was refreshed.", "%(count)d tokens were refreshed.", "count"),
            ),
            (
                messages.WARNING,
                self.needs_login,
                ngettext_lazy(
                    "%(count)d token is dead: its user has to log in again.",
                    "%(count)d tokens are dead: their users have to log in again.",
                    "count",
                ),
            ),
            (
                messages.WARNING,
                self.fixed,
                ngettext_lazy(
                    "%(count)d token can't be refreshed without its user, and was left as it is.",
                    "%(count)d tokens can't be refreshed without their users, and were left as they are.",
                    "count",
                ),
            ),
            (
                messages.ERROR,
                self.failed,
                ngettext_lazy(
                    "%(count)d token could not be refreshed: %(problems)s",
                    "%(count)d tokens could not be refreshed: %(problems)s",
                    "count",
                ),
            ),
            (
                messages.WARNING,
                self.postponed,
                ngettext_lazy(
                    "Time was up before %(count)d token. Try again, or run: manage.py refresh_tokens",
                    "Time was up before %(count)d tokens. Try again, or run: manage.py refresh_tokens",
                    "count",
                ),
            ),
        ]
        problems = "; ".join(self.problems)
        for level, count, text in told:
            if count:
                yield level, text % {"count": count, "problems": problems}


def refresh(
    tokens: Iterable[UserToken], *, on_success: Callable[[UserToken], None] = lambda token: None
) -> Outcome:
    """Refresh each of `tokens`, read `with_time()`. After SOCIALGRANTS_TIMEOUT no further one is begun.

    Raises nothing that a network or a token is to blame for.
    """
    outcome = Outcome()
    ends = monotonic() + conf.TIMEOUT
    for token in tokens:
        if monotonic() > ends:
            outcome.postponed += 1
            continue
        try:
            if token.state == UserToken.State.ACTIVE and not token.is_refreshable():
                outcome.fixed += 1
                continue
            on_success(renewed(token))
            outcome.refreshed += 1
        except NeedsLogin:
            outcome.needs_login += 1
        except SocialGrantsError as error:
            outcome.fail(str(error))
        except Exception as error:
            log(
                Event.NOT_REFRESHED,
                "token %s could not be refreshed: %s",
                *(token.pk, type(error).__name__),
                level=logging.ERROR,
                application=token.credentials.name,
                token=token.pk,
                reason=type(error).__name__,
            )
            outcome.fail(_("unexpected: %(error)s") % {"error": type(error).__name__})
    return outcome
