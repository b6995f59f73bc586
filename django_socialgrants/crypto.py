"""Authenticated encryption of short texts, each bound to the place where it is stored.

AES-SIV (RFC 5297) with a random nonce: unlike GCM it has no limit on messages per key that a site with a
million tokens, refreshed every half an hour, would reach. A ciphertext names its key, so that a key that was
lost can be told from a value that was damaged:

    v1.<fingerprint of the key>.<urlsafe base64 of nonce and ciphertext>
"""

import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Iterator
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from .conf import conf
from .exceptions import DecryptionError
from .oauth.values import Secret

_NONCE_BYTES = 16
_HEAD = re.compile(r"v1\.([0-9a-f]{8})\.")
HEAD_LENGTH = len("v1.00000000.")
"""Characters with which a ciphertext begins, and which name its key."""


class Key:
    """One encryption key; `fingerprint` (8 hex digits) tells keys apart without telling anything else."""

    def __init__(self, material: bytes) -> None:
        self.fingerprint = _derive(material, b"fingerprint", 4).hex()
        self._cipher = AESSIV(_derive(material, b"encryption", 64))

    @property
    def head(self) -> str:
        """What every ciphertext of this key begins with."""
        return f"v1.{self.fingerprint}."

    def encrypt(self, secret: Secret, place: bytes) -> str:
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(secret.reveal().encode("utf-8"), [place, nonce])
        return self.head + urlsafe_b64encode(nonce + sealed).decode()

    def decrypt(self, sealed: bytes, place: bytes) -> str:
        return self._cipher.decrypt(sealed[_NONCE_BYTES:], [place, sealed[:_NONCE_BYTES]]).decode("utf-8")


def encrypt(secret: Secret, place: bytes) -> str:
    """`secret` encrypted with the first key, readable only together with the same `place`."""
    return keys()[0].encrypt(secret, place)


def decrypt(ciphertext: str, place: bytes) -> str:
    """The text of a ciphertext. Raises DecryptionError; nothing is ever taken for plain text."""
    fingerprint, encoded = named_key(ciphertext), ciphertext[HEAD_LENGTH:]
    if not fingerprint or not encoded:
        raise DecryptionError("a stored secret is not encrypted in a form that is known here")
    key = next((key for key in keys() if key.fingerprint == fingerprint), None)
    if key is None:
        raise DecryptionError(
            f"a stored secret was encrypted with the key {fingerprint}, which is not configured",
            fingerprint=fingerprint,
        )
    try:
        return key.decrypt(urlsafe_b64decode(encoded), place)
    except (InvalidTag, Base64Error, ValueError):
        pass
    raise DecryptionError(
        f"a stored secret is damaged or was moved here from another place (key {fingerprint})",
        fingerprint=fingerprint,
        key_known=True,
    )


def named_key(ciphertext: str) -> str:
    """The fingerprint that a ciphertext, or its head, names; "" for what is no ciphertext of ours."""
    head = _HEAD.match(ciphertext)
    return head[1] if head else ""


def missing_keys(ciphertexts: Iterable[str]) -> list[str]:
    """The fingerprints of the keys that the ciphertexts name and that are not configured."""
    configured = {key.fingerprint for key in keys()}
    return sorted({named_key(ciphertext) for ciphertext in ciphertexts} - configured - {""})


def keys() -> tuple[Key, ...]:
    """The site's keys, the one that encrypts first. Raises ImproperlyConfigured for a malformed one."""
    found = [_key(encoded) for encoded in conf.ENCRYPTION_KEYS or _derived_keys()]
    usable = tuple(key for key in found if key)
    if len(usable) < len(found):
        where = f"SOCIALGRANTS_ENCRYPTION_KEYS[{found.index(None)}]"
        raise ImproperlyConfigured(f"{where} is not the urlsafe base64 of 32 bytes")
    return usable


@lru_cache(maxsize=64)
def derived_key(secret_key: str | bytes) -> str:
    """The key that encrypts while SOCIALGRANTS_ENCRYPTION_KEYS is empty, in the form of an entry of it.

    A settings module may import and call this, to keep that key beside others.
    """
    material = secret_key.encode("utf-8") if isinstance(secret_key, str) else secret_key
    return urlsafe_b64encode(_derive(material, b"key", 32)).decode()


def _derived_keys() -> Iterator[str]:
    yield derived_key(settings.SECRET_KEY)
    yield from map(derived_key, settings.SECRET_KEY_FALLBACKS)


@lru_cache(maxsize=64)
def _key(encoded: str) -> Key | None:
    """The key, or None for a malformed one: an error raised here would show it to whoever reads the frame."""
    try:
        material = urlsafe_b64decode(encoded)
    except (ValueError, TypeError):
        return None
    return Key(material) if len(material) == 32 else None


def _derive(material: bytes, purpose: bytes, length: int) -> bytes:
    """HKDF (RFC 5869): as many independent keys as wanted from one."""
    info = b"django_socialgrants " + purpose
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(material)
