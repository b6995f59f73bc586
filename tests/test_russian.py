"""What a visitor reads is there in Russian, too."""

import pytest
from django.utils.translation import override

from django_socialgrants.flows.refusal import REASONS


@pytest.mark.parametrize(("network", "label"), [("ok", "Войти через OK"), ("mailru", "Войти через Mail.Ru")])
def test_buttons_are_labelled_in_russian(client, ok_app, mailru_app, network, label):
    with override(None):  # the middleware leaves the language behind
        page = client.get(f"/social/{network}/code/", headers={"Accept-Language": "ru"}).content.decode()
    assert label in page
    assert '<html lang="ru">' in page


@pytest.mark.parametrize("sentence", [sentence for _, sentence in REASONS.values()], ids=list(REASONS))
def test_every_refusal_is_said_in_russian(sentence):
    with override("en"):
        english = str(sentence)
    with override("ru"):
        russian = str(sentence)
    assert russian != english
    assert russian.endswith(".")
