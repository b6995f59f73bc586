"""Filters of tokens, none of which has to read a million rows to say what there is to choose."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from django_socialgrants.models import UserToken
from django_socialgrants.storage.clock import DatabaseNow

_DAY = 24 * 3600

_Choices = list[tuple[str, Any]]


class ReasonFilter(admin.SimpleListFilter):
    title = _("reason")
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Choices:
        return [*UserToken.Reason.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[UserToken]) -> QuerySet[UserToken]:
        return queryset.filter(reason=self.value()) if self.value() in UserToken.Reason.values else queryset


class ExpiryFilter(admin.SimpleListFilter):
    """By the database's clock."""

    title = _("expiry")
    parameter_name = "expiry"

    def lookups(self, request: HttpRequest, model_admin: Any) -> _Choices:
        return [
            ("expired", _("expired")),
            ("day", _("within a day")),
            ("later", _("later")),
            ("never", _("never")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[UserToken]) -> QuerySet[UserToken]:
        now, tomorrow = DatabaseNow(), DatabaseNow(_DAY)
        chosen = {
            "expired": Q(expires_at__lte=now),
            "day": Q(expires_at__gt=now, expires_at__lte=tomorrow),
            "later": Q(expires_at__gt=tomorrow),
            "never": Q(expires_at=None),
        }
        return queryset.filter(chosen.get(self.value() or "", Q()))
