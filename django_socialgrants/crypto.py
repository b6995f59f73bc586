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


class Key:
    """One encryption key; `fingerprint` (8 hex digits) tells keys apart without telling anything else."""

    def __init__(self, material: bytes) -> None:
        self.fingerprint = _derive(material, b"fingerprint", 4).hex()
        self._cipher = AESSIV(_derive(material, b"encryption", 64))

    def encrypt(self, secret: Secret, place: bytes) -> str:
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(secret.reveal().encode("utf-8"), [place, nonce])
        return f"v1.{self.fingerprint}.{urlsafe_b64encode(nonce + sealed).decode()}"

    def decrypt(self, sealed: bytes, place: bytes) -> str:
        return self._cipher.decrypt(sealed[_NONCE_BYTES:], [place, sealed[:_NONCE_BYTES]]).decode("utf-8")


def encrypt(secret: Secret, place: bytes) -> str:
    """`secret` encrypted with the first key, readable only together with the same `place`."""
    return keys()[0].encrypt(secret, place)


def decrypt(ciphertext: str, place: bytes) -> str:
    """The text of a ciphertext. Raises DecryptionError; nothing is ever taken for plain text."""
    form = re.fullmatch(r"v1\.([0-9a-f]{8})\.(.+)", ciphertext, re.DOTALL)
    if form is None:
        raise DecryptionError("a stored secret is not encrypted in a form that is known here")
    fingerprint, encoded = form.groups()
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


def missing_key(ciphertext: str) -> str:
    """The fingerprint of the key that a ciphertext names, if that key is not configured; else ""."""
    named = _fingerprint(ciphertext)
    return "" if named in {key.fingerprint for key in keys()} else named


def _fingerprint(ciphertext: str) -> str:
    form = re.match(r"v1\.([0-9a-f]{8})\.", ciphertext)
    return form[1] if form else ""


def keys() -> tuple[Key, ...]:
    """The site's keys, the one that encrypts first. Raises ImproperlyConfigured for a malformed one."""
    if not conf.ENCRYPTION_KEYS:
        return _derived_keys(settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    found = [_own_key(encoded) for encoded in conf.ENCRYPTION_KEYS]
    usable = tuple(key for key in found if key)
    if len(usable) < len(found):
        where = f"SOCIALGRANTS_ENCRYPTION_KEYS[{found.index(None)}]"
        raise ImproperlyConfigured(f"{where} is not the urlsafe base64 of 32 bytes")
    return usable


@lru_cache(maxsize=64)
def _own_key(encoded: str) -> Key | None:
    """The key, or None for a malformed one: an error raised here would show it to whoever reads the frame."""
    try:
        material = urlsafe_b64decode(encoded)
    except (ValueError, TypeError):
        return None
    return Key(material) if len(material) == 32 else None


@lru_cache(maxsize=8)
def _derived_keys(*secret_keys: str | bytes) -> tuple[Key, ...]:
    return tuple(Key(key.encode("utf-8") if isinstance(key, str) else key) for key in secret_keys)


def _derive(material: bytes, purpose: bytes, length: int) -> bytes:
    """HKDF (RFC 5869): as many independent keys as wanted from one."""
    info = b"django_socialgrants " + purpose
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(material)
