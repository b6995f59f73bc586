"""The two networks with their endpoints on the loopback server of `tests.network`, which fills them in."""

from django_socialgrants.providers.mailru import MailRu
from django_socialgrants.providers.ok import OK


class FakeOK(OK):
    pass


class FakeMailRu(MailRu):
    pass
