"""One application's part in a run: whether to go on, what is claimed, and what came of it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseFailure
from django.utils.translation import gettext

from django_socialgrants.crypto import missing_keys, named_key
from django_socialgrants.exceptions import DecryptionError, UnknownProvider
from django_socialgrants.models import ApplicationHealth, ProviderCredentials, UserToken
from django_socialgrants.oauth.values import Credentials

from . import health
from .committed import PERSIST_FOR
from .due import Candidate, Due
from .health import Known
from .lease import release
from .report import MISCONFIGURED, RETRY, VALVE_CLOSED, Problem, Tally
from .request import Renewal, Reply, prepare, unsealed
from .settlement import LOST_KEY, Settlement, Verdict, judge, settle

_PROBES = 50  # tokens that are looked at to find one for a probe


class Lane:
    """What a run does with one application, beginning with `open_up()`.

    `is_open` says whether more of its tokens are to be claimed; `is_halted` that no further request is to be sent,
    not even for those that are claimed. `believe`: an operator says that refused tokens are dead, however many.
    """

    def __init__(
        self, application: ProviderCredentials, tally: Tally, due: Due, *, believe: bool = False
    ) -> None:
        self.application = application
        self.tally = tally
        self.is_open = False
        self.is_halted = False
        self._due = due
        self._believe = believe
        self._known = Known(health.Health())
        self._credentials = Credentials("")
        self._claims = 0
        self._held: dict[int, UserToken] = {}  # claimed, and neither settled nor given back
        self._arrived: list[Settlement] = []
        self._untouched: list[UserToken] = []
        self._heard_at = 0.0
        if believe:
            due.include_held_back()
        tally.due = due.count()

    @property
    def in_flight(self) -> int:
        """How many tokens are claimed, but neither settled nor given back."""
        return len(self._held)

    def open_up(self) -> None:
        """See whether the application is fit to be refreshed; if not, the tally says why."""
        if not self.tally.due:
            return
        try:
            self.application.get_provider()
            self._credentials = unsealed(self.application.to_value())
        except DecryptionError as error:
            self.tally.worsen(MISCONFIGURED, Problem.LOST_KEY, str(error))
            return
        except UnknownProvider as error:
            self.tally.worsen(MISCONFIGURED, Problem.UNKNOWN_NETWORK, str(error))
            return
        except ImproperlyConfigured as error:
            self.tally.worsen(MISCONFIGURED, Problem.SETTINGS, str(error))
            return
        self._known = health.look(self.application)
        if self._believe and self._known.health.is_revoked:
            health.lift_valve(self.application)
            lifted = replace(self._known.health, reason="", recent="")
            self._known = self._known._replace(health=lifted)
        if (
            self._known.pause and not self._known.health.is_refused
        ):  # that may be mended by now: one token shows
            self._note_pause(self._known)
            note = gettext("paused for %(seconds)d s more") % {"seconds": self.tally.paused_for}
            self.tally.worsen(self.tally.exit_code, self.tally.problem, note)
            return
        self.is_open = True

    def room(self, share: int) -> int:
        """How many more tokens may be claimed, where `share` can be on their way at once.

        As many again are kept ready at least, so that no thread waits for the database.
        """
        if not self.is_open:
            return 0
        if self._known.health.is_probing:
            return 1 - self.in_flight
        return 4 * share - self.in_flight if self.in_flight <= 2 * share else 0

    def claim(self, count: int) -> list[UserToken]:
        """The next tokens that nobody else is refreshing, `count` at most; their leases are ours now."""
        while self.is_open:
            known = self._known.health
            if known.is_probing:
                page = self._due.probes(_PROBES, untried=not known.is_revoked)
            else:
                page = self._due.next_page(count)
            self.is_open = bool(page) if known.is_probing else len(page) == count  # else these are the last
            if readable := self._readable(page)[:count]:
                claimed = self._due.claim(readable)
                self._held |= {token.pk: token for token in claimed}
                self._claims += len(claimed)
                if claimed:
                    return claimed
            if page and known.is_probing:
                note = gettext("the token for a probe was taken by somebody else, or is unreadable")
                if known.is_refused:  # only an operator helps, whoever it is that asks again
                    self.close(Problem.INVALID_CLIENT, note, exit_code=MISCONFIGURED)
                else:
                    self.close(Problem.OUTAGE, note)
        return []

    def prepare(self, token: UserToken) -> Renewal | Reply:
        """As `request.prepare` does, with this application's credentials."""
        return prepare(token, self._credentials)

    def close(self, problem: Problem, note: str, *, exit_code: int = RETRY) -> None:
        """Claim no more, for the reason in `note`, if there is anything left to claim."""
        self.is_open = False
        if self._claims < self.tally.due:
            self.tally.worsen(exit_code, problem, note)

    def halt(self) -> None:
        """Claim no more, and begin with none of those that are claimed."""
        self.is_open = False
        self.is_halted = True

    def receive(self, token: UserToken, reply: Reply | None, at: float) -> None:
        """Keep for `settle()` what came of the refresh of a claimed token, and when; None if it was not begun."""
        if token.pk not in self._held:
            return
        self._heard_at = max(self._heard_at, at)
        if reply is None:
            self._untouched.append(token)
        else:
            self._arrived.append(judge(token, reply))

    def settle(self) -> bool:
        """Write down and count what was received; whether there was anything.

        Nothing is forgotten if this is interrupted. When the database fails it is tried again until 30 s have
        passed since the last reply; then its error is raised, and the leases of those tokens end by themselves.
        """
        if not (self._arrived or self._untouched):
            return False
        ends = self._heard_at + PERSIST_FOR
        try:
            if self._arrived:
                self._settle_arrived(ends)
            self._give_back(self._untouched, ends)
        except DatabaseFailure:
            self._forget(settlement.token for settlement in self._arrived)
            self._forget(self._untouched)
            self._arrived, self._untouched = [], []
            raise
        return True

    def give_up(self, ends: float) -> None:
        """Give all other leases back: no reply will come any more. Tried again until `ends`."""
        self._give_back(list(self._held.values()), ends)

    def _settle_arrived(self, ends: float) -> None:
        settlements = self._arrived
        after = settle(settlements, self._known.health, believe=self._believe, ends=ends)
        if after.pause or (after.health.is_revoked and not self._known.health.is_revoked):
            self.halt()
            self._note_pause(after)
        if not self.is_halted:  # else nothing more is begun, and what is on its way was begun before
            self._known = after
        for settlement in settlements:
            self._count(settlement)
        self._arrived = []
        self._forget(settlement.token for settlement in settlements)

    def _give_back(self, tokens: Sequence[UserToken], ends: float) -> None:
        if tokens:
            self.tally.worsen(RETRY, Problem.STOPPED)
            release(tokens, ends=ends)
        self._untouched = []
        self._forget(tokens)

    def _forget(self, tokens: Iterable[UserToken]) -> None:
        for token in list(tokens):
            self._held.pop(token.pk, None)

    def _readable(self, candidates: Sequence[Candidate]) -> list[int]:
        """The tokens whose keys are there; the rows of the others are not touched at all."""
        missing = set(missing_keys(secret for _, _, *secrets in candidates for secret in secrets))
        for key in sorted(missing):
            note = gettext("the encryption key %(key)s is not configured")
            self.tally.worsen(MISCONFIGURED, Problem.LOST_KEY, note % {"key": key})
        return [pk for _, pk, *secrets in candidates if missing.isdisjoint(map(named_key, secrets))]

    def _note_pause(self, known: Known) -> None:
        problem = Problem.OUTAGE if known.health.reason == ApplicationHealth.Reason.OUTAGE else Problem.PAUSED
        self.tally.paused_for = math.ceil(known.pause)
        if known.health.is_revoked:
            self.tally.worsen(VALVE_CLOSED, Problem.VALVE)
        else:
            self.tally.worsen(RETRY, problem)

    def _count(self, settlement: Settlement) -> None:
        tally, verdict, reason = self.tally, settlement.verdict, settlement.reason
        if verdict is Verdict.SUPERSEDED:
            return
        if verdict is Verdict.POSTPONED:
            tally.worsen(RETRY, Problem.FAILURES)
            return
        if verdict is Verdict.REFRESHED:
            tally.refreshed += 1
            return
        tally.reasons[reason] += 1
        if verdict is Verdict.NEEDS_LOGIN:
            tally.needs_login += 1
            return
        tally.failed += 1
        tally.worsen(RETRY, Problem.FAILURES)
        if verdict is Verdict.STOPPED:
            self.halt()
            problem = Problem.LOST_KEY if reason == LOST_KEY else Problem.INVALID_CLIENT
            note = gettext("stopped: %(error)s") % {"error": settlement.reply.error}
            tally.worsen(MISCONFIGURED, problem, note)
        elif verdict is Verdict.HELD_BACK:
            self.halt()
            note = gettext("tokens are refused in masses: see --accept-mass-revocation")
            tally.worsen(VALVE_CLOSED, Problem.VALVE, note)
