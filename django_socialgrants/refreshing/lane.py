"""One application's due tokens: claimed in small batches, in order, each at most once in a run."""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Q, QuerySet
from django.utils.translation import gettext

from django_socialgrants.crypto import missing_keys, named_key
from django_socialgrants.exceptions import DecryptionError, UnknownProvider
from django_socialgrants.models import ProviderCredentials, UserToken, UserTokenQuerySet
from django_socialgrants.oauth.values import Credentials
from django_socialgrants.storage.clock import DatabaseNow

from . import health
from .committed import persistently
from .lease import claim, free, new_owner, release, stored
from .report import MISCONFIGURED, RETRY, VALVE_CLOSED, Tally
from .request import Answer, Renewal, prepare, unsealed
from .settlement import Settlement, Verdict, judge, store

_WINDOW, _MASS = 100, 50
_PROBES = 50  # tokens that are looked at to find one for a probe
_REFUSALS = {"invalid_grant", "ambiguous_rotation", "session_expired"}


class Lane:
    """What a run does with one application, beginning with `open_up()`.

    `is_open` says whether more of its tokens are to be claimed, `in_flight` how many are claimed but not settled;
    `is_halted` that no request is to be sent any more, not even for those.
    `started` is the database's time when the run began: what becomes due later is the next run's.
    """

    def __init__(
        self,
        application: ProviderCredentials,
        tally: Tally,
        *,
        started: datetime,
        within: float = 0,
        accept_mass_revocation: bool = False,
    ) -> None:
        self.application = application
        self.tally = tally
        self.in_flight = 0
        self.is_open = False
        self.is_halted = False
        self._claimed = 0
        self._due = _due(application, started, within)
        self._accepts_all = accept_mass_revocation
        self._cursor: tuple[datetime, int] | None = None
        self._recent: deque[str] = deque(maxlen=_WINDOW)
        self._known = health.Health()
        self._credentials = Credentials("")
        tally.due = self._due.count()

    def open_up(self) -> None:
        """See whether the application is fit to be refreshed; if not, the tally says why."""
        if not self.tally.due:
            return
        try:
            self.application.get_provider()
            self._credentials = unsealed(self.application.to_value())
        except (DecryptionError, ImproperlyConfigured, UnknownProvider) as error:
            self.tally.worsen(MISCONFIGURED, str(error))
            return
        self._known = health.health(self.application)
        if self._known.revoked and self._accepts_all:
            persistently(lambda: health.succeeded(self.application, self._known))
            self._known = health.Health(recent=self._known.recent)
        self._recent.extend(self._known.recent)
        if self._known.pause and not self._known.refused:
            self.tally.worsen(
                RETRY, gettext("paused for %(seconds)d s more") % {"seconds": self._known.pause + 1}
            )
            return
        self.is_open = True

    def room(self, share: int) -> int:
        """How many more tokens may be claimed, where `share` can be on their way at once.

        As many again are kept ready at least, so that no thread waits for the database.
        """
        if not self.is_open:
            return 0
        if self._known.probing:
            return 1 - self.in_flight
        return 4 * share - self.in_flight if self.in_flight <= 2 * share else 0

    def claim(self, count: int) -> list[UserToken]:
        """The next tokens that nobody else is refreshing, `count` at most; their leases are ours now."""
        while self.is_open:
            page = _PROBES if self._known.probing else count
            candidates = self._look(page)
            if not candidates:
                self.is_open = False
                break
            if not self._known.probing:
                self.is_open = len(candidates) == page  # else these are the last
                self._cursor = candidates[-1][:2]
            owner = new_owner()
            readable = self._readable(candidates)[:count]
            rows = self._due.filter(pk__in=readable)  # due still: somebody may have been faster
            persistently(
                partial(claim, rows, owner)
            )  # says nothing of how many: they may be ours since a first try
            if claimed := self._held(owner, readable):
                self.in_flight += len(claimed)
                self._claimed += len(claimed)
                return claimed
            if self._known.probing:
                self.close(gettext("the token for a probe was taken by somebody else, or is unreadable"))
        return []

    def close(self, note: str) -> None:
        """Claim no more, for the reason in `note`, if there is anything left to claim."""
        self.is_open = False
        if self._claimed < self.tally.due:
            self.tally.worsen(RETRY, note)

    def prepare(self, token: UserToken) -> Renewal | Answer:
        """As `renewal.prepare` does, with this application's credentials."""
        return prepare(token, self._credentials)

    def halt(self) -> None:
        """Claim no more, and begin with none of those that are claimed."""
        self.is_open = False
        self.is_halted = True

    def finish(self) -> None:
        """Keep for the next run how many tokens were refused lately."""
        recent = "" if self._accepts_all else "".join(self._recent)
        if "1" in recent + self._known.recent:
            persistently(lambda: health.remember(self.application, recent))

    def give_back(self, token: UserToken) -> None:
        """Leave a claimed token as it was: its refresh was not begun."""
        self.in_flight -= 1
        self.tally.worsen(RETRY)
        persistently(lambda: release(token))

    def settle(self, answers: Sequence[tuple[UserToken, Answer]]) -> None:
        """Write down and count what came of the refreshes of claimed tokens."""
        self.in_flight -= len(answers)
        settlements = [self._judge(token, answer) for token, answer in answers]
        was_halted = self.is_halted  # then a success that was on its way says nothing new
        if store(settlements, replace(self._known, troubled=self._known.troubled and not was_halted)):
            self.halt()
        verdicts = {settlement.verdict for settlement in settlements}
        if Verdict.REFRESHED in verdicts and not was_halted:
            if self._known.revoked:
                self._recent.clear()
            self._known = health.Health(recent=self._known.recent)  # whatever was wrong is forgotten
        if Verdict.FAILED in verdicts:
            self._known = replace(self._known, troubled=True)
        for settlement in settlements:
            self._count(settlement)

    def _judge(self, token: UserToken, answer: Answer) -> Settlement:
        """What an answer means, in the light of all others."""
        settlement = judge(token, answer)
        refused = settlement.reason in _REFUSALS
        if refused or settlement.verdict is Verdict.REFRESHED:
            self._recent.append("1" if refused else "0")
        if refused and self._refuses_in_masses():
            settlement.verdict = Verdict.HELD_BACK
        return settlement

    def _look(self, count: int) -> list[Any]:
        return persistently(lambda: list(self._candidates()[:count]))

    def _held(self, owner: str, pks: Sequence[int]) -> list[UserToken]:
        """Those of the tokens whose leases are ours."""
        rows = stored().filter(pk__in=pks, lease_owner=owner).annotate(database_now=DatabaseNow())  # type: ignore[no-redef]
        claimed: list[UserToken] = persistently(lambda: list(rows))
        for token in claimed:
            token.credentials = self.application
        return claimed

    def _candidates(self) -> QuerySet[UserToken, Any]:
        """What is due behind the cursor and free: when, which, and the ciphertexts.

        In an outage the newest token that has not failed yet is a probe: those at the head may be what is wrong.
        """
        tokens = self._due.filter(free()).order_by("next_refresh_at", "pk")
        if self._known.probing:
            untried = tokens.filter(failures=0).reverse()
            tokens = untried if not self._known.revoked and untried.exists() else tokens
        elif self._cursor is not None:
            time, pk = self._cursor
            behind = Q(next_refresh_at__gt=time) | Q(next_refresh_at=time, pk__gt=pk)
            tokens = tokens.filter(behind, next_refresh_at__gte=time)
        return tokens.values_list("next_refresh_at", "pk", "access_token", "refresh_token")

    def _readable(self, candidates: Sequence[tuple[datetime, int, str, str]]) -> list[int]:
        """The tokens whose keys are there; the rows of the others are not touched at all."""
        missing = set(missing_keys(secret for _, _, *secrets in candidates for secret in secrets))
        for key in sorted(missing):
            note = gettext("the encryption key %(key)s is not configured")
            self.tally.worsen(MISCONFIGURED, note % {"key": key})
        return [pk for _, pk, *secrets in candidates if missing.isdisjoint(map(named_key, secrets))]

    def _refuses_in_masses(self) -> bool:
        """The valve: whether so many tokens were refused lately that the network had better not be believed."""
        if self._accepts_all or self._known.revoked:
            return not self._accepts_all
        refused = self._recent.count("1")
        if refused < _MASS or 2 * refused < len(self._recent):
            return False
        self.halt()
        self._known = health.Health(probing=True, revoked=True, troubled=True)
        persistently(lambda: health.close_valve(self.application))
        return True

    def _count(self, settlement: Settlement) -> None:
        tally, verdict, reason = self.tally, settlement.verdict, settlement.reason
        if verdict is Verdict.SUPERSEDED:
            return
        if verdict is Verdict.REFRESHED:
            tally.refreshed += 1
            return
        tally.reasons[reason] += 1
        if verdict is Verdict.NEEDS_LOGIN:
            tally.needs_login += 1
            return
        tally.failed += 1
        tally.worsen(RETRY)
        if verdict is Verdict.STOPPED:
            self.halt()
            tally.worsen(MISCONFIGURED, gettext("stopped: %(error)s") % {"error": settlement.answer.error})
        elif verdict is Verdict.HELD_BACK:
            self.halt()
            tally.worsen(VALVE_CLOSED, gettext("tokens are refused in masses: see --accept-mass-revocation"))


def _due(application: ProviderCredentials, started: datetime, within: float) -> UserTokenQuerySet:
    """Active tokens whose time has come; `within` adds those without failures whose time comes in so many seconds.

    Without those that were refreshed since: a short-lived one would come round again and again.
    """
    times = Q(next_refresh_at__lte=started + timedelta(seconds=within))
    times &= Q(refreshed_at=None) | Q(refreshed_at__lt=started)
    if within:
        times &= Q(failures=0) | Q(next_refresh_at__lte=started)
    return stored().filter(times, credentials=application.pk, state=UserToken.State.ACTIVE)
