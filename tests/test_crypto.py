"""Authenticated encryption: what can be read, where, and with which keys."""

import os
import subprocess
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_socialgrants import crypto
from django_socialgrants.exceptions import DecryptionError
from django_socialgrants.oauth.values import Secret

PLACE = b"a table, a column, a row"
OLD, NEW, OTHER = (urlsafe_b64encode(bytes([number]) * 32).decode() for number in (1, 2, 3))


@pytest.fixture(autouse=True)
def one_key(settings):
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = [OLD]


def encrypt(text="a token"):
    return crypto.encrypt(Secret(text), PLACE)


def refusal(ciphertext, place=PLACE):
    with pytest.raises(DecryptionError) as caught:
        crypto.decrypt(ciphertext, place)
    return caught.value


def fingerprint(ciphertext):
    return ciphertext.split(".")[1]


@pytest.mark.parametrize("text", ["a token", "Ёж & 1+1=2", "\0", "a.b.c", "v1.00000000.AAAA", "x" * 100_000])
def test_what_was_encrypted_reads_back(text):
    ciphertext = encrypt(text)
    assert text not in ciphertext
    assert crypto.decrypt(ciphertext, PLACE) == text


def test_ciphertexts_of_earlier_releases_stay_readable():
    stored = "v1.61494436.5EPyhBjTxFWPhQyBdkRaVzs4h3DP5VGeVnJZ2DsuYi3W7Ayk-PE7CXBCLHrJ_UylSERyJFv2F0__g-DH"
    assert crypto.decrypt(stored, PLACE) == "kept since the first release"


def test_the_same_text_is_never_encrypted_alike_twice():
    assert len({encrypt() for _ in range(100)}) == 100


@pytest.mark.parametrize("place", [b"", b"a table, a column, another row", PLACE + b" ", PLACE[:-1]])
def test_a_ciphertext_is_readable_only_in_its_place(place):
    error = refusal(encrypt(), place)
    assert error.key_known


def test_the_first_key_encrypts_and_every_key_decrypts(settings):
    with_old = encrypt()
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = [NEW, OTHER, OLD]
    with_new = encrypt()
    assert fingerprint(with_new) != fingerprint(with_old)
    assert crypto.decrypt(with_old, PLACE) == crypto.decrypt(with_new, PLACE) == "a token"

    settings.SOCIALGRANTS_ENCRYPTION_KEYS = [NEW]
    assert crypto.decrypt(with_new, PLACE) == "a token"
    assert not refusal(with_old).key_known


def test_without_keys_one_is_derived_from_the_secret_key(settings):
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = []
    settings.SECRET_KEY = "the first secret key of this site, long enough"
    before = encrypt()

    settings.SECRET_KEY = "the second secret key of this site, long enough"
    settings.SECRET_KEY_FALLBACKS = ["another one", "the first secret key of this site, long enough"]
    after = encrypt()
    assert fingerprint(after) != fingerprint(before)
    assert crypto.decrypt(before, PLACE) == crypto.decrypt(after, PLACE) == "a token"

    settings.SECRET_KEY_FALLBACKS = []
    assert crypto.decrypt(after, PLACE) == "a token"
    assert not refusal(before).key_known


def test_a_secret_key_of_bytes_is_the_same_key(settings):
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = []
    settings.SECRET_KEY = "a secret key of this site, long enough"
    ciphertext = encrypt()
    settings.SECRET_KEY = settings.SECRET_KEY.encode()
    assert crypto.decrypt(ciphertext, PLACE) == "a token"


def test_ciphertexts_under_a_derived_key_stay_readable_in_later_releases(settings):
    stored = "v1.b1d19aa2.poncZmjJAL1kdyctI0qVM5dwM9e0et6nLa4NQyHgjtj_jIBeNATNavCYw-GpGuoVhXtn9iN1s2y3Vx6X"
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = []
    settings.SECRET_KEY = "the first secret key of this site, long enough"
    assert crypto.decrypt(stored, PLACE) == "kept since the first release"


@pytest.mark.parametrize("kind", [str, str.encode], ids=["str", "bytes"])
def test_a_derived_key_can_stand_among_own_keys(settings, kind):
    secret_key = "the first secret key of this site, long enough"
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = []
    settings.SECRET_KEY = secret_key
    with_derived = encrypt()

    settings.SECRET_KEY = "the second secret key of this site, long enough"
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = [NEW, crypto.derived_key(kind(secret_key))]
    assert crypto.decrypt(with_derived, PLACE) == "a token"
    assert fingerprint(encrypt()) != fingerprint(with_derived)


def test_own_keys_do_not_bring_the_derived_one_with_them(settings):
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = []
    ciphertext = encrypt()
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = [NEW]
    assert not refusal(ciphertext).key_known


def test_a_derived_key_does_not_tell_the_secret_key():
    secret_key = "x" * 32
    assert urlsafe_b64decode(crypto.derived_key(secret_key)) != secret_key.encode()
    assert len(urlsafe_b64decode(crypto.derived_key(secret_key))) == 32


@pytest.mark.slow
def test_a_settings_module_may_derive_a_key():
    """Settings are not there yet when it does."""
    program = "from django_socialgrants.crypto import derived_key; derived_key('a secret key')"
    environment = {name: os.environ[name] for name in os.environ if name != "DJANGO_SETTINGS_MODULE"}
    subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[1], env=environment, check=True
    )


def test_a_lost_key_is_told_by_its_fingerprint(settings):
    ciphertext = encrypt()
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = [NEW]
    error = refusal(ciphertext)
    assert (error.fingerprint, error.key_known) == (fingerprint(ciphertext), False)
    assert error.fingerprint in str(error)


def test_a_fingerprint_tells_nothing_of_its_key():
    assert fingerprint(encrypt()) not in urlsafe_b64decode(OLD).hex()


def test_any_changed_bit_is_noticed():
    version, key, body = encrypt().split(".")
    raw = urlsafe_b64decode(body)
    for position in range(len(raw)):
        changed = bytearray(raw)
        changed[position] ^= 1
        error = refusal(f"{version}.{key}.{urlsafe_b64encode(changed).decode()}")
        assert (error.fingerprint, error.key_known) == (key, True)


def test_any_truncation_is_noticed():
    ciphertext = encrypt()
    body = ciphertext.rindex(".") + 1
    errors = [refusal(ciphertext[:length]) for length in range(len(ciphertext))]
    assert [error.key_known for error in errors] == [length > body for length in range(len(ciphertext))]


def test_parts_of_two_ciphertexts_do_not_make_one():
    one, other = encrypt("one"), encrypt("two")
    raw_one, raw_other = (urlsafe_b64decode(text.split(".")[2]) for text in (one, other))
    mixed = urlsafe_b64encode(raw_one[:16] + raw_other[16:]).decode()
    assert refusal(f"{one.rpartition('.')[0]}.{mixed}").key_known


@pytest.mark.parametrize("rest", ["!", "é", "A", "AAAA", "\0", " "])
def test_a_body_that_is_no_ciphertext_is_damage(rest):
    head = encrypt().rpartition(".")[0]
    error = refusal(f"{head}.{rest}")
    assert (error.fingerprint, error.key_known) == (fingerprint(head), True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a plain token",
        "a.plain.token",
        "v1",
        "v1.",
        "v1..AAAA",
        "v1.a token with dots.in it",
        "v1.tooshrt.AAAA",
        "v1.12345678",
        "v2.12345678.AAAA",
        "V1.12345678.AAAA",
    ],
)
def test_plain_text_is_never_taken_for_a_secret_nor_shown(text):
    error = refusal(text)
    assert (error.fingerprint, error.key_known) == ("", False)
    assert not any(part in str(error) for part in text.split(".") if len(part) > 2)


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        "too short",
        urlsafe_b64encode(b"x" * 31).decode(),
        urlsafe_b64encode(b"x" * 33).decode(),
        OLD[:-1],
        "not base64 at all, but as long as a key!!!!",
        "ключ",
        None,
        7,
    ],
)
def test_a_malformed_key_is_named_by_its_number_and_not_shown(settings, malformed):
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = [OLD, malformed]
    with pytest.raises(ImproperlyConfigured, match=r"SOCIALGRANTS_ENCRYPTION_KEYS\[1\]") as caught:
        crypto.keys()
    assert not malformed or str(malformed) not in str(caught.value)[len("SOCIALGRANTS_ENCRYPTION_KEYS[1]") :]


def test_one_malformed_key_does_not_show_the_others_in_a_traceback(settings):
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = [NEW, "malformed"]
    with pytest.raises(ImproperlyConfigured) as caught:
        encrypt()
    frames = [entry.frame for entry in caught.traceback if entry.path.name != "test_crypto.py"]
    assert frames
    for frame in frames:
        assert NEW not in repr(frame.f_locals)
        assert repr(urlsafe_b64decode(NEW)) not in repr(frame.f_locals)
