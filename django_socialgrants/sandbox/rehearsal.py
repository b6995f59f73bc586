"""Rehearsing an outage: for so many requests, or for so long, a network fails on purpose.

What is rehearsed is kept in the database, so that every server follows it.
"""

from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from functools import partial, wraps
from math import ceil
from typing import Concatenate, ParamSpec

from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.translation import gettext as _

from .failures import FAILURES, Scene
from .models import Rehearsal
from .networks import NETWORKS, Network
from .tokens import Reason

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


class Impossible(ValueError):
    """The failure can't be played like that; the text says why."""


def begin(
    failure: str,
    networks: Collection[Network] = (),
    *,
    count: int | None = None,
    lasting: timedelta | None = None,
    seconds: int | None = None,
) -> None:
    """Let these networks (none named: all that can) fail from now on, for `count` requests or for the time of
    `lasting`, instead of whatever they rehearsed before. `seconds` is for the failures that take a time.

    Raises Impossible; then nothing was changed.
    """
    rules = FAILURES[failure]
    networks = networks or rules.networks
    words = {"failure": failure, "seconds": rules.most_seconds}
    if any(network not in rules.networks for network in networks):
        raise Impossible(_("%(failure)s is not for this network.") % words)
    if seconds is not None and not rules.most_seconds:
        raise Impossible(_("%(failure)s takes no seconds.") % words)
    if seconds is not None and seconds > rules.most_seconds:
        raise Impossible(_("%(failure)s takes at most %(seconds)s seconds.") % words)
    with transaction.atomic():
        end(networks)
        for network in networks:
            Rehearsal.objects.create(
                network=network.id,
                failure=failure,
                seconds=rules.seconds if seconds is None else seconds,
                remaining=count,
                until=timezone.now() + lasting if lasting else None,
            )


def end(networks: Collection[Network] = ()) -> None:
    """Let these networks (none named: all) work again."""
    Rehearsal.objects.filter(network__in=[network.id for network in networks or NETWORKS.values()]).delete()


def report() -> Iterator[str]:
    """What each network rehearses, one line each."""
    on = {rehearsal.network: rehearsal for rehearsal in _on_now()}
    for network in NETWORKS.values():
        yield f"{network.title}: {_told(on[network.id]) if network.id in on else _('as usual')}"


def _told(rehearsal: Rehearsal) -> str:
    words: dict[str, object] = {"failure": rehearsal.failure}
    if rehearsal.remaining is not None:
        return _("%(failure)s, requests left: %(count)s") % {**words, "count": rehearsal.remaining}
    if rehearsal.until is not None:
        seconds = ceil((rehearsal.until - timezone.now()).total_seconds())
        return _("%(failure)s, seconds left: %(count)s") % {**words, "count": seconds}
    return _("%(failure)s, until it is ended") % words


def _on_now() -> QuerySet[Rehearsal]:
    time_left = Q(until=None) | Q(until__gt=timezone.now())
    requests_left = Q(remaining=None) | Q(remaining__gt=0)
    return Rehearsal.objects.filter(time_left, requests_left)


def rehearsed(
    network: Network,
    occasion: Callable[..., str],
    refuse: Callable[[HttpRequest, Reason], HttpResponse],
) -> Callable[[View[P]], Callable[Concatenate[HttpRequest, P], HttpResponseBase]]:
    """Lets a view fail while that is rehearsed.

    `occasion` takes what the view takes and says what the request is for, in the words of
    `Failure.occasions`; `refuse` is how the view words a refusal.
    """

    def decorate(view: View[P]) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
        @wraps(view)
        def wrapped(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            now = occasion(request, *args, **kwargs)
            rehearsal = _next_for(network, now)
            if rehearsal is None:
                return view(request, *args, **kwargs)
            carry_out = partial(view, request, *args, **kwargs)
            scene = Scene(now, rehearsal.seconds, carry_out, refuse=partial(refuse, request))
            return FAILURES[rehearsal.failure].play(scene)

        return wrapped

    return decorate


def _next_for(network: Network, occasion: str) -> Rehearsal | None:
    """The failure that this request gets, and counts; None if it is to succeed."""
    possible = [name for name, failure in FAILURES.items() if occasion in failure.occasions]
    found = _on_now().filter(network=network.id, failure__in=possible).first()
    return found if found and found.take() else None
