import re

import pytest

from django_socialgrants.sandbox.networks import NETWORKS
from django_socialgrants.sandbox.people import PEOPLE


@pytest.mark.parametrize("network", NETWORKS)
def test_friends_are_friends_of_each_other(network):
    people = PEOPLE[network]
    for uid, person in people.items():
        assert uid not in person.friends
        assert all(uid in people[friend].friends for friend in person.friends)


@pytest.mark.parametrize("network", NETWORKS)
def test_user_ids_are_strings_of_digits(network):
    assert len(PEOPLE[network]) == 5
    assert all(re.fullmatch("[0-9]{1,20}", uid) for uid in PEOPLE[network])


def test_most_user_ids_of_mailru_are_too_large_for_a_signed_column():
    assert sum(2**63 <= int(uid) < 2**64 for uid in PEOPLE["mailru"]) == 4


@pytest.mark.parametrize("network", NETWORKS)
def test_addresses_are_of_domains_that_nobody_owns(network):
    text = str([person.profile for person in PEOPLE[network].values()])
    assert set(re.findall(r"@([^'\"]+)|https?://([^/]+)", text)) <= {
        ("example.com", ""),
        ("example.org", ""),
        ("", "example.com"),
    }


def test_somebody_has_no_email_address_and_somebody_no_last_name():
    for people in PEOPLE.values():
        assert any(not person.profile.get("email") for person in people.values())
        assert any(not person.profile.get("last_name") for person in people.values())
        assert all(person.name for person in people.values())
