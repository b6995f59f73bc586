"""The refresh grant in its three modes: RFC 6749, section 6, and RFC 9700, section 4.14.2."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from .models import AccessToken, Application, RefreshToken
from .networks import Rotation
from .tokens import Reason, Refused, Tokens, issue_access, issue_both

GRACE_PERIOD = timedelta(seconds=60)


def refresh(
    application: Application, value: str, rotation: Rotation | None = None, *, device_id: str = ""
) -> Tokens:
    """What a refresh token brings; a `rotation` overrules that of the application. Raises Refused."""
    rotation = rotation or Rotation(application.rotation or application.rules.rotation)
    token = RefreshToken.find(application, value)
    if token is None:
        raise Refused(Reason.REFRESH_TOKEN)
    if token.device_id and token.device_id != device_id:
        raise Refused(Reason.DEVICE)
    if token.retired_at:
        return _presented_again(token, rotation)
    if not token.alive:
        raise Refused(Reason.REFRESH_TOKEN_EXPIRED)
    if rotation is Rotation.FIXED:
        return Tokens(issue_access(application, token.uid, token.scope), None)
    return _rotate(token) or _presented_again(token, rotation)


def _rotate(token: RefreshToken) -> Tokens | None:
    """The next refresh token and an access token; None if another request was faster."""
    with transaction.atomic():
        if not token.retire():
            return None
        return issue_both(token.application, token.uid, token.scope, predecessor=token)


def _presented_again(token: RefreshToken, rotation: Rotation) -> Tokens:
    if rotation is Rotation.GRACE and (given := _given_lately(token)):
        return given
    if rotation is Rotation.STRICT and _revoke(token):
        raise Refused(Reason.REFRESH_TOKEN_REUSED)
    raise Refused(Reason.REFRESH_TOKEN)


def _given_lately(token: RefreshToken) -> Tokens | None:
    """The answer that the token was given within the last minute, while that is still valid."""
    successor = RefreshToken.objects.filter(
        predecessor=token, predecessor__retired_at__gt=timezone.now() - GRACE_PERIOD
    ).first()
    return Tokens(successor.access, successor) if successor and successor.alive and successor.access else None


def _revoke(token: RefreshToken) -> bool:
    """End every token that came of it. Returns whether any of the refresh tokens was still good.

    A successor that is being rotated meanwhile does not escape: retiring it waits for the rotation, after which
    its own successor can be found.
    """
    current: RefreshToken | None = token
    ended = False
    while current:
        ended = current.retire() or ended
        AccessToken.objects.filter(refreshtoken=current, retired_at=None).update(retired_at=timezone.now())
        current = RefreshToken.objects.filter(predecessor=current).first()
    return ended
