"""The networks with their endpoints on the loopback server of `tests.network`, which fills them in."""

from django_socialgrants.providers.mailru import MailRu
from django_socialgrants.providers.ok import OK
from django_socialgrants.providers.vkid import VKID


class FakeOK(OK):
    pass


class FakeMailRu(MailRu):
    pass


class FakeVKID(VKID):
    pass
