"""A run over many tokens needs no more memory than one over few. STORM_MANY is how many are many."""

import os

import pytest

from .conftest import make_due
from .quick_network import quick_network

pytestmark = pytest.mark.django_db(transaction=True)

FEW, MANY = 500, int(os.environ.get("STORM_MANY", "5000"))
LIMIT = 4096 if MANY <= 10_000 else 30 * 1024
"""KiB; with a kilobyte kept of each token a run fails in any case."""


def test_memory_does_not_grow_with_the_number_of_tokens(mailru_app, refresh_tokens, tmp_path):
    peaks = []
    with quick_network() as url:
        for count in (FEW, MANY):
            owner = make_due(mailru_app, count)
            path = tmp_path / "peak"
            report = refresh_tokens(STORM_NETWORK=url, STORM_PEAK=path).report()
            assert report["refreshed"] == count
            peaks.append(int(path.read_text()))
            owner.delete()
    assert peaks[1] - peaks[0] < LIMIT
