"""The signature that OK.ru and Platform@Mail.Ru share: MD5 over all parameters sorted by name, and a secret.

https://apiok.ru/en/dev/methods/, https://api.mail.ru/docs/guides/restapi/.
"""

from collections.abc import Collection, Mapping
from hashlib import md5

from django_socialgrants.oauth.parameters import RESERVED, encode_params
from django_socialgrants.oauth.values import Secret, reveal

__all__ = [
    "RESERVED",
    "encode_params",
    "md5_hex",
    "signature",
]  # all that signing takes, for a site's network


def md5_hex(text: str) -> str:
    """MD5 in lower-case hex over UTF-8: mandated by the protocol of both networks."""
    return md5(text.encode("utf-8"), usedforsecurity=False).hexdigest()


def signature(
    params: Mapping[str, str | Secret], secret: str | Secret, *, prefix: str = "", skip: Collection[str] = ()
) -> str:
    """MD5 of `prefix`, every name=value sorted by name (without `sig` and those in `skip`), and `secret`.

    Raises ValueError when the secret is empty: such a signature would be anybody's.
    """
    if not secret:
        raise ValueError("the secret that has to sign this call is empty")
    names = sorted(params.keys() - {"sig", *skip})
    return md5_hex(prefix + "".join([f"{name}={reveal(params[name])}" for name in names]) + reveal(secret))
