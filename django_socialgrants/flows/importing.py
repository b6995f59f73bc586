"""The people of another package, with their accounts and tokens, into ours: nobody has to log in again.

An account is known by application and user id, as everywhere here, and stays with its user; e-mail addresses are
never looked at. An import may be repeated at any time, also while people log in through either package: of two
grants of the same account the newer one stays.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth import get_user_model
from django.db import IntegrityError, models, router, transaction
from django.db.models import F
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_socialgrants.exceptions import MalformedResponse, ProviderError
from django_socialgrants.models import ProviderCredentials, UserToken
from django_socialgrants.oauth.grants import AuthorizationCodeGrant
from django_socialgrants.oauth.values import Token

from .import_sources import Found, ImportRefused, Source, allauth, social_django

_PAGE = 1000

_SOURCES: dict[str, Callable[[str, ProviderCredentials], Source]] = {
    "allauth": allauth,
    "social_django": social_django,
}
PACKAGES = tuple(_SOURCES)
_PROVIDERS = {
    "allauth": {"ok": "odnoklassniki", "mailru": "mailru", "vkid": "vk"},
    "social_django": {"ok": "odnoklassniki-oauth2", "mailru": "mailru-oauth2", "mailid": "mailru"},
}
"""What each package calls our networks."""


class Outcome(models.TextChoices):
    """What became of one account."""

    IMPORTED = "imported", _("imported")
    UPDATED = "updated", _("replaced by a newer grant")
    UNCHANGED = "unchanged", _("known already")
    TAKEN = "taken", _("connected to another user here")
    NO_USER = "no_user", _("its user does not exist")
    NO_UID = "no_uid", _("has no user id of the network")
    FOREIGN = "foreign", _("belongs, or may belong, to another application")
    MALFORMED = "malformed", _("its tokens can't be read")
    CONFLICT = "conflict", _("was stored here at the same moment")


_SETTLED = (Outcome.IMPORTED, Outcome.UPDATED, Outcome.UNCHANGED)
_COMPARED = ("user", "uid", "created_at", "refreshed_at", "generation")


@dataclass
class ImportReport:
    """How many accounts there are, and what became of each."""

    package: str
    provider: str
    application: str
    total: int
    dry_run: bool = False
    outcomes: Counter[str] = field(default_factory=Counter)
    needs_login: int = 0
    """Of the imported ones, those without a token: their users log in once more, and are known."""
    seconds: float = 0

    @property
    def done(self) -> int:
        return self.outcomes.total()

    @property
    def skipped(self) -> dict[str, int]:
        """How many accounts were left out, by `Outcome`."""
        return {name: self.outcomes[name] for name in Outcome if self.outcomes[name] and name not in _SETTLED}

    @property
    def exit_code(self) -> int:
        return 1 if self.skipped else 0

    def to_json(self) -> dict[str, Any]:
        """The document of `import_accounts --json`."""
        return {
            "from": self.package,
            "provider": self.provider,
            "application": self.application,
            "dry_run": self.dry_run,
            "accounts": self.total,
            **{outcome.value: self.outcomes[outcome] for outcome in _SETTLED},
            "needs_login": self.needs_login,
            "skipped": sum(self.skipped.values()),
            "reasons": self.skipped,
            "seconds": round(self.seconds, 3),
        }


def import_accounts(
    package: str,
    name: str,
    *,
    provider: str = "",
    dry_run: bool = False,
    stop: Callable[[], bool] = lambda: False,
    watch: Callable[[ImportReport], None] = lambda report: None,
    skipped: Callable[[Any, Outcome], None] = lambda pk, outcome: None,
) -> ImportReport:
    """Import the accounts of one of PACKAGES into the application `name`, and report what became of them.

    `provider` is what that package calls the network, where it is not its usual name. Once `stop` says so the rest
    is left to the next import. `watch` is called with the growing report after counting and after every page,
    `skipped` for each account that is left out, with its primary key there.

    Raises ImportRefused, UnknownCredentials, UnknownProvider, ImproperlyConfigured; then nothing was changed.
    """
    began = time.monotonic()
    alias = router.db_for_write(UserToken)
    application = ProviderCredentials.objects.using(alias).named(name)
    provider = provider or _provider_of(package, application)
    source = _SOURCES[package](provider, application)
    report = ImportReport(package, provider, name, source.rows.count(), dry_run)
    watch(report)
    importer = _Importer(application, alias)
    after = None
    while not stop() and (page := source.page(after, _PAGE)):
        for found, outcome in importer.settle(page, dry_run=dry_run):
            report.outcomes[outcome] += 1
            report.needs_login += outcome is Outcome.IMPORTED and not found.access_token
            if outcome not in _SETTLED:
                skipped(found.pk, outcome)
        after = page[-1].pk
        report.seconds = time.monotonic() - began
        watch(report)
    return report


def _provider_of(package: str, application: ProviderCredentials) -> str:
    try:
        return _PROVIDERS[package][application.provider]
    except KeyError:
        text = gettext("Name the provider there: “%(network)s” has no usual name.")
        raise ImportRefused(text % {"network": application.provider}) from None


_Judged = tuple[Found, Outcome, UserToken | None, Mapping[str, Any]]
"""An account, what is to become of it, its row here, and what changes in that."""


class _Importer:
    """Stores accounts as tokens of one application, in the database `alias`."""

    def __init__(self, application: ProviderCredentials, alias: str) -> None:
        self._application = application
        self._provider = application.get_provider()
        self._alias = alias
        self._blank = UserToken(credentials=application)
        self._rows = UserToken.objects.using(alias).filter(credentials=application)
        self._users = get_user_model()._base_manager.using(alias)

    def settle(self, page: Sequence[Found], *, dry_run: bool = False) -> list[tuple[Found, Outcome]]:
        """Store what is new, and tell what became of each account.

        Where somebody else has stored one of them meanwhile, the page is done again one by one.
        """
        judged = self._judge_all(page)
        if dry_run:
            return [(found, outcome) for found, outcome, *_row in judged]
        try:
            return list(self._store(judged))
        except IntegrityError:
            if len(page) == 1:
                return [(page[0], Outcome.CONFLICT)]
        return [settled for found in page for settled in self.settle([found])]

    def _judge_all(self, page: Sequence[Found]) -> list[_Judged]:
        """What is to become of each account; nothing is written."""
        uids = [self._uid(found) for found in page]
        known = self._rows.filter(uid__in=set(uids)).only(*_COMPARED)
        here = {row.uid: row for row in known}  # compared exactly, whatever the collation equates
        owners = self._users.filter(pk__in={found.user_id for found in page})
        users = set(owners.values_list("pk", flat=True))
        judged: list[_Judged] = []
        for found, uid in zip(page, uids, strict=True):
            row, changes = here.get(uid), {}
            outcome = self._judge(found, uid, row, users)
            if outcome in (Outcome.IMPORTED, Outcome.UPDATED):
                try:
                    changes = self._changes(row or self._blank, found, uid)
                except ProviderError:
                    outcome = Outcome.MALFORMED
                else:
                    here[uid] = row = self._changed(row, found, uid, changes)
            judged.append((found, outcome, row, changes))
        return judged

    def _judge(self, found: Found, uid: str, row: UserToken | None, users: set[Any]) -> Outcome:
        """What is to become of an account that has the `row` here, if its token can be read."""
        if found.is_foreign:
            return Outcome.FOREIGN
        if found.is_broken:
            return Outcome.MALFORMED
        if not uid:
            return Outcome.NO_UID
        if found.user_id not in users:
            return Outcome.NO_USER
        if row is None:
            return Outcome.IMPORTED
        if row.user_id != found.user_id:
            return Outcome.TAKEN
        if not found.access_token or found.granted_at <= (row.refreshed_at or row.created_at):
            return Outcome.UNCHANGED
        return Outcome.UPDATED

    def _uid(self, found: Found) -> str:
        try:
            return self._provider.parse_uid(found.uid)
        except MalformedResponse:
            return ""

    def _changed(
        self, row: UserToken | None, found: Found, uid: str, changes: Mapping[str, Any]
    ) -> UserToken:
        """The row, or a new one, with its changes."""
        if row is None:
            return UserToken(user_id=found.user_id, credentials=self._application, uid=uid, **changes)
        row.apply(changes)
        return row

    def _changes(self, row: UserToken, found: Found, uid: str) -> dict[str, Any]:
        """What `row` is to hold, as if it had been granted here. Raises ProviderError for what is no token."""
        identity = self._provider.identity_from({**found.details, "uid": uid})
        token = self._token(found) if found.access_token else Token()
        kind, moment = AuthorizationCodeGrant.grant_type, found.granted_at
        changes = row.changes_by_grant(token, identity, grant_type=kind, granted_at=moment)
        if not found.access_token:
            changes |= {"state": UserToken.State.NEEDS_LOGIN, "reason": UserToken.Reason.IMPORTED}
            changes |= {"expires_at": None, "next_refresh_at": None}
        return changes

    def _token(self, found: Found) -> Token:
        """What the other package stored, read like an answer of the network. Raises ProviderError."""
        answer = {
            name: getattr(found, name) for name in ("access_token", "refresh_token", "token_type", "scope")
        }
        if not isinstance(found.scope, str):
            answer["scope"] = " ".join(map(str, found.scope))
        if self._provider.callback_fields:  # bound to a device, which nobody but us keeps
            answer["refresh_token"] = ""
        if found.expires_at is not None:
            answer["expires_in"] = max(0, int((found.expires_at - found.granted_at).total_seconds()))
        names = self._provider.token_names
        return self._provider.parse_token({names.get(name, (name,))[0]: answer[name] for name in answer})

    def _store(self, judged: Sequence[_Judged]) -> Iterator[tuple[Found, Outcome]]:
        """Write one page, or nothing of it; the first statement is a write, for which SQLite can wait."""
        with transaction.atomic(using=self._alias):
            if new := [
                row for _found, outcome, row, _changes in judged if row and outcome is Outcome.IMPORTED
            ]:
                self._rows.bulk_create(new)
            for found, outcome, row, changes in judged:
                if row and outcome is Outcome.UPDATED and not self._replace(row, changes):
                    outcome = Outcome.UNCHANGED
                yield found, outcome

    def _replace(self, row: UserToken, changes: Mapping[str, Any]) -> bool:
        """Put an imported token in place of an older one, if nobody has changed that one meanwhile."""
        same = self._rows.filter(pk=row.pk, user_id=row.user_id, generation=row.generation)
        return bool(same.update(**row.sealed(changes), generation=F("generation") + 1))
