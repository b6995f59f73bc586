"""Applications in the admin: what to copy from the network and what to the network, and how they fare."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.debug import SafeExceptionReporterFilter
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from django_socialgrants.applications.problems import problems
from django_socialgrants.models import ProviderCredentials
from django_socialgrants.refreshing.health import resume

from . import facts
from .forms import SECRETS, ProviderCredentialsForm

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[ProviderCredentials]
else:
    _ModelAdmin = admin.ModelAdmin


class _ReporterFilter(SafeExceptionReporterFilter):
    """Django's own hides what was sent from mails only, not from the debug page."""

    def is_active(self, request: HttpRequest | None) -> bool:
        return True


class ProviderCredentialsAdmin(_ModelAdmin):
    form = ProviderCredentialsForm
    list_display = ("name", "network", "client_id", "implicit_enabled", "condition")
    list_select_related = ("health",)
    search_fields = ("name", "client_id")
    ordering = ("name",)
    actions = ("resume_selected",)

    class Media:
        css = {"all": ["socialgrants/admin.css"]}

    # --- lists -------------------------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("network"), ordering="provider")
    def network(self, credentials: ProviderCredentials) -> str:
        known = credentials.known_provider()
        return known.title if known else credentials.provider

    @admin.display(description=gettext_lazy("health"))
    def condition(self, credentials: ProviderCredentials) -> str:
        return facts.condition(facts.trouble(getattr(credentials, "health", None)))

    @admin.action(permissions=["change"], description=gettext_lazy("Resume refreshing for the selected ones"))
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[ProviderCredentials]) -> None:
        for credentials in queryset:
            self._resume(request, credentials)

    # --- one application ---------------------------------------------------------------------------------

    def get_fieldsets(self, request: HttpRequest, obj: ProviderCredentials | None = None) -> Any:
        may_change = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        secrets: list[str] = []
        for name in SECRETS:
            if not may_change:
                secrets.append(f"{name}_masked")
            elif obj and getattr(obj, name):
                secrets += [name, f"remove_{name}"]
            else:
                secrets.append(name)
        return (
            (None, {"fields": ("name", "provider")}),
            (_("Given out by the network"), {"fields": ("client_id", *secrets)}),
            (_("What to ask for"), {"fields": ("scope", *self._offered(obj))}),
        )

    def _offered(self, credentials: ProviderCredentials | None) -> list[str]:
        """The fields for what not every network has; all of them for an application to come."""
        provider = credentials.known_provider() if credentials else None
        offered = {
            "implicit_enabled": provider is None or "token" in provider.response_types,
            "ways": provider is None or provider.ways,
            "native_redirect_uris": provider is None or provider.pkce,
        }
        return [name for name, shown in offered.items() if shown or getattr(credentials, name)]

    @admin.display(description=gettext_lazy("client secret"))
    def client_secret_masked(self, credentials: ProviderCredentials) -> str:
        return facts.stored(credentials.client_secret)

    @admin.display(description=gettext_lazy("client key"))
    def client_key_masked(self, credentials: ProviderCredentials) -> str:
        return facts.stored(credentials.client_key)

    @method_decorator(sensitive_post_parameters())
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        request.exception_reporter_filter = _ReporterFilter()
        return super().changeform_view(request, *args, **kwargs)

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: ProviderCredentials | None = None,
    ) -> HttpResponse:
        # Not `obj` itself, which holds what was sent if that is refused.
        stored = ProviderCredentials.objects.filter(pk=obj.pk).first() if obj else None
        context |= {"callbacks": facts.callback_urls(request, stored), "has_facts": stored is not None}
        if stored:
            row = facts.trouble(getattr(stored, "health", None))
            context |= {
                "tokens": facts.tokens_by_state(stored),
                "health": row,
                "health_reason": row and facts.reason(row),
                "paused_until": row and facts.paused_until(row),
                "can_resume": row and self.has_change_permission(request, stored),
            }
        return super().render_change_form(request, context, add, change, form_url, obj)

    def save_model(self, request: HttpRequest, obj: ProviderCredentials, form: Any, change: bool) -> None:
        """Only what was changed is written: a secret that is kept may have been encrypted anew meanwhile."""
        if not change:
            super().save_model(request, obj, form, change)
        elif form.changed_columns:
            obj.save(update_fields=[*form.changed_columns, "updated_at"])
        for problem in problems(obj):
            messages.warning(request, f"“{obj.name}”: {problem.message}. {problem.hint}")
        if change:
            self._explain(request, obj, form.changed_columns)

    def _explain(self, request: HttpRequest, credentials: ProviderCredentials, changed: list[str]) -> None:
        """What a change means for what was there before."""
        if "name" in changed:
            text = _(
                "The callback URLs have changed with the name: register the new ones at the network, and look for "
                "the old name in templates and code."
            )
            messages.warning(request, text)

    # --- resuming ----------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_POST(self.resume_view))
        name = "socialgrants_providercredentials_resume"
        return [path("<path:object_id>/resume/", view, name=name), *super().get_urls()]

    def resume_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        credentials = self.get_object(request, unquote(object_id))
        if credentials is None:
            raise Http404
        if not self.has_change_permission(request, credentials):
            raise PermissionDenied
        self._resume(request, credentials)
        name = "admin:socialgrants_providercredentials_change"
        return HttpResponseRedirect(reverse(name, args=[credentials.pk], current_app=self.admin_site.name))

    def _resume(self, request: HttpRequest, credentials: ProviderCredentials) -> None:
        resume(credentials)
        self.log_change(request, credentials, _("Resumed refreshing."))
        text = _("Tokens of %(name)s are refreshed again.")
        messages.success(request, text % {"name": credentials.name})
