"""The people who live here. None of them is real; addresses are of example.com and example.org (RFC 2606).

Each is there for a reason, which the dialog shows (`note`): a site should try them all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from .people_profiles import mailid_profile, mailru_profile, ok_profile, vkid_profile


@dataclass(frozen=True)
class Person:
    """Somebody with an account. `profile` is what the network's API tells, field by field."""

    profile: Mapping[str, Any]
    note: Promise
    friends: tuple[str, ...] = ()

    @property
    def uid(self) -> str:
        """The user id, whatever the network calls it."""
        return str(next(self.profile[name] for name in ("uid", "user_id", "id") if name in self.profile))

    @property
    def name(self) -> str:
        return f"{self.profile['first_name']} {self.profile.get('last_name', '')}".strip()


def _by_uid(*people: Person) -> Mapping[str, Person]:
    return {person.uid: person for person in people}


_OK = _by_uid(
    Person(
        ok_profile("999000000101", "Аврора", "Вымыслова", "female", "1992-03-08", "Казань", "avrora"),
        _("A complete profile"),
        ("999000000202", "999000000303", "999000000404"),
    ),
    Person(
        ok_profile("999000000202", "Тимофей", "Небылицын", "male", "1985-11-30", "Пермь", "timofey"),
        _("An ordinary profile"),
        ("999000000101", "999000000303"),
    ),
    Person(
        ok_profile("999000000303", "Мария-Луиза", "Д'Примерова", "female", "2001-01-01", "Сочи", "maria"),
        _("A hyphen and an apostrophe in the name"),
        ("999000000101", "999000000202"),
    ),
    Person(
        ok_profile("999000000404", "Ёлка", "Понарошкина", "female", "1999-12-31", "Тверь", ""),
        _("Has no e-mail address"),
        ("999000000101",),
    ),
    Person(
        {"uid": "999000000505", "first_name": "Инкогнито", "name": "Инкогнито", "has_email": False},
        _("Hides everything, has no friends"),
    ),
)

# Ids up to the largest that 64 bits hold: too large for a signed column, too exact for a float.
_MAILRU = _by_uid(
    Person(
        mailru_profile("18446744073709551601", "Глафира", "Сказкина", 1, "08.03.1992", "Казань", "glafira"),
        _("A complete profile"),
        ("18446744073709551602", "18446744073709551603", "9000000000000000004"),
    ),
    Person(
        mailru_profile("18446744073709551602", "Ефрем", "Выдумкин", 0, "30.11.1985", "Пермь", "efrem"),
        _("A user id that differs in the last digit only"),
        ("18446744073709551601", "18446744073709551603"),
    ),
    Person(
        mailru_profile("18446744073709551603", "Анна-Мария", "О'Пример", 1, "01.01.2001", "Сочи", "anna"),
        _("A hyphen and an apostrophe in the name"),
        ("18446744073709551601", "18446744073709551602"),
    ),
    Person(
        mailru_profile("9000000000000000004", "Прохор", "Небывалов", 0, "31.12.1999", "Тверь", ""),
        _("Has no e-mail address and a shorter user id"),
        ("18446744073709551601",),
    ),
    Person(
        {"uid": "18446744073709551615", "first_name": "Невидимка", "nick": "Невидимка", "friends_count": 0},
        _("Hides everything, has no friends"),
    ),
)

# Each of them can come in with VK ID, OK or Mail.Ru, and has the same id whichever it was.
_VKID = _by_uid(
    Person(
        vkid_profile(1000000101, "Ярослава", "Выдумкина", 1, "08.03.1992", "yaroslava", "79990000101"),
        _("A complete profile"),
        ("1000000202", "1000000303", "1000000404"),
    ),
    Person(
        vkid_profile(1000000202, "Игнат", "Небывальцев", 2, "30.11.1985", "ignat", "79990000202"),
        _("An ordinary profile"),
        ("1000000101", "1000000303"),
    ),
    Person(
        vkid_profile(1000000303, "Анна-Мария", "Д'Примерова", 1, "01.01.2001", "anna", ""),
        _("A hyphen and an apostrophe in the name"),
        ("1000000101", "1000000202"),
    ),
    Person(
        vkid_profile(1000000404, "Ёлка", "Понарошкина", 1, "31.12.1999", "", ""),
        _("Has no e-mail address"),
        ("1000000101",),
    ),
    Person(
        vkid_profile(7, "Инкогнито", "", 0, "", "", ""),
        _("Hides everything, has no friends, and a very short user id"),
    ),
)

_MAILID = _by_uid(
    Person(
        mailid_profile("1734000101", "Василиса", "Сказкина", "f", "08.03.1992", "vasilisa"),
        _("A complete profile"),
    ),
    Person(
        mailid_profile("1734000202", "Прохор", "Небылицын", "m", "30.11.1985", "prokhor"),
        _("An ordinary profile"),
    ),
    Person(
        mailid_profile("1734000303", "Анна-Мария", "О'Пример", "f", "01.01.2001", "anna"),
        _("A hyphen and an apostrophe in the name"),
    ),
    Person(
        mailid_profile("1734000404", "Ёлка", "Понарошкина", "f", "31.12.1999", "yolka"),
        _("A letter that older encodings do not have"),
    ),
    Person(
        {"id": "1734000505", "name": "Невидимка", "first_name": "Невидимка"},
        _("Hides everything"),
    ),
)

PEOPLE: Mapping[str, Mapping[str, Person]] = {"ok": _OK, "mailru": _MAILRU, "vkid": _VKID, "mailid": _MAILID}
"""By network and user id, in the order of the dialog."""
