"""Tokens in the admin: to be looked at, refreshed and forgotten; never written, never shown."""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.functional import Promise
from django.utils.html import format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_socialgrants.exceptions import UnsafeTransaction
from django_socialgrants.flows.accounts import disconnect_all, locked_out_without
from django_socialgrants.flows.refresh import mark_needs_login
from django_socialgrants.models import UserToken, UserTokenQuerySet

from .filters import ExpiryFilter, ReasonFilter
from .refreshing import MOST, refresh

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[UserToken]
else:
    _ModelAdmin = admin.ModelAdmin


_GRANT = ("grant_type", "way_in", "scope", "token_type", "created_at", "has_refresh", "has_session_secret")
_STATE = (
    *("state", "why", "expires_at", "refresh_expires_at", "refreshed_at"),
    *("next_refresh_at", "failures", "lease_owner", "lease_until"),
)
_NAMED_USERS = 10


class UserTokenAdmin(_ModelAdmin):
    """Nobody may change a row here; the permission to do so allows the actions."""

    fieldsets = (
        (None, {"fields": ("user", "credentials", "uid", "person")}),
        (gettext_lazy("What was granted"), {"fields": _GRANT}),
        (gettext_lazy("State"), {"fields": _STATE}),
    )
    list_display = ("account", "user", "credentials", "condition", "expires_at")
    list_filter = ("state", ReasonFilter, "credentials", ExpiryFilter)
    list_select_related = ("user", "credentials")
    ordering = ("-pk",)
    show_full_result_count = False
    actions = ("refresh_now", "mark_as_needs_login", "delete_selected")

    class Media:
        css = {"all": ["socialgrants/admin.css"]}

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        return ["uid__startswith", f"user__{get_user_model().USERNAME_FIELD}__istartswith"]

    # --- permissions -------------------------------------------------------------------------------------

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: UserToken | None = None) -> bool:
        return False

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether the actions are allowed: to whoever might change tokens, if anybody could."""
        return super().has_change_permission(request)

    # --- what is shown -----------------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("account"), ordering="uid")
    def account(self, token: UserToken) -> str:
        return token.uid

    @admin.display(description=gettext_lazy("state"), ordering="state")
    def condition(self, token: UserToken) -> str:
        return ": ".join(str(word) for word in (token.get_state_display(), self.why(token)) if word)

    @admin.display(description=gettext_lazy("reason"), ordering="reason")
    def why(self, token: UserToken) -> str | Promise:
        return token.get_reason_display()

    @admin.display(description=gettext_lazy("way in"))
    def way_in(self, token: UserToken) -> str:
        return token.way_in

    @admin.display(description=gettext_lazy("profile"))
    def person(self, token: UserToken) -> str:
        lines = ((name, value) for name, value in token.profile.items() if value not in ("", None))
        return format_html_join("", "<div>{}: {}</div>", lines) or "-"

    @admin.display(description=gettext_lazy("refresh token"), boolean=True)
    def has_refresh(self, token: UserToken) -> bool:
        return bool(token.refresh_token)

    @admin.display(description=gettext_lazy("session secret"), boolean=True)
    def has_session_secret(self, token: UserToken) -> bool:
        return bool(token.session_secret)

    # --- actions -----------------------------------------------------------------------------------------

    @admin.action(
        permissions=["operate"], description=gettext_lazy("Refresh selected %(verbose_name_plural)s now")
    )
    def refresh_now(self, request: HttpRequest, queryset: UserTokenQuerySet) -> None:
        count = queryset.count()
        if count > MOST:
            text = _(
                "Here at most %(most)d tokens are refreshed at once. For more run: manage.py refresh_tokens"
            )
            messages.error(request, text % {"most": MOST})
            return
        outcome = refresh(
            queryset.with_time(), on_success=lambda token: self._log(request, token, _("Refreshed."))
        )
        for level, text in outcome.messages():
            messages.add_message(request, level, text)

    @admin.action(
        permissions=["operate"],
        description=gettext_lazy("Mark selected %(verbose_name_plural)s as needing a login"),
    )
    def mark_as_needs_login(self, request: HttpRequest, queryset: UserTokenQuerySet) -> None:
        marked = 0
        try:
            for token in queryset.filter(state=UserToken.State.ACTIVE).with_time():
                if mark_needs_login(token, UserToken.Reason.MARKED_BY_ADMIN):
                    self._log(request, token, _("Marked as needing a login."))
                    marked += 1
        except UnsafeTransaction as error:
            messages.error(request, str(error))
        text = ngettext(
            "%(count)d token was marked: its user has to log in again.",
            "%(count)d tokens were marked: their users have to log in again.",
            marked,
        )
        level = messages.SUCCESS if marked else messages.WARNING
        messages.add_message(request, level, text % {"count": marked})

    def _log(self, request: HttpRequest, token: UserToken, text: str) -> None:
        self.log_change(request, token, text)

    # --- disconnecting -----------------------------------------------------------------------------------

    @admin.action(
        permissions=["delete"], description=gettext_lazy("Disconnect selected %(verbose_name_plural)s")
    )
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[UserToken]) -> TemplateResponse | None:
        """Django's own, by the name that it has here."""
        return delete_selected(self, request, queryset)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """What the confirmation lists; it warns, too."""
        if "post" not in request.POST:  # not yet confirmed
            with suppress(ImproperlyConfigured):  # of providers, which a check tells
                self._warn(request, locked_out_without(UserToken.objects.filter(pk__in=[t.pk for t in objs])))
        return super().get_deleted_objects(objs, request)

    def _warn(self, request: HttpRequest, locked_out: Sequence[AbstractBaseUser]) -> None:
        if not locked_out:
            return
        text = ngettext(
            "This is the only way to log in of one user, who has no password: %(users)s.",
            "This is the only way to log in of %(count)d users, who have no password: %(users)s.",
            len(locked_out),
        )
        names = [user.get_username() for user in locked_out[:_NAMED_USERS]]
        more = ["…"] if len(locked_out) > _NAMED_USERS else []
        messages.warning(request, text % {"count": len(locked_out), "users": ", ".join([*names, *more])})

    def delete_model(self, request: HttpRequest, obj: UserToken) -> None:
        self._disconnect([obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[UserToken]) -> None:
        self._disconnect(list(queryset))

    def _disconnect(self, tokens: list[UserToken]) -> None:
        with transaction.atomic():
            disconnect_all(tokens)
