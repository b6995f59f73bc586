"""PKCE (RFC 7636) with S256."""

from base64 import urlsafe_b64encode
from hashlib import sha256


def code_challenge(code_verifier: str) -> str:
    """The challenge for a verifier of 43 to 128 unreserved characters (section 4.2)."""
    return base64url(sha256(code_verifier.encode("ascii")).digest())


def base64url(data: bytes) -> str:
    """`data` in base64url without padding (appendix A)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
