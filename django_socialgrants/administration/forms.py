"""The form of an application: its secrets go in and never come out."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ImproperlyConfigured
from django.utils.html import format_html, format_html_join
from django.utils.text import capfirst, format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_socialgrants import crypto
from django_socialgrants.applications.declared import FIELDS, declared
from django_socialgrants.applications.problems import label, problems
from django_socialgrants.models import ProviderCredentials
from django_socialgrants.oauth.provider import Provider
from django_socialgrants.oauth.values import Secret

from .facts import known_networks, stored

SECRETS = ProviderCredentials.SECRETS
NAMED = ("client_id", *SECRETS)
"""Fields for which every network has a name of its own."""

_PLAIN: dict[str, Any] = {
    field.name: field.verbose_name
    for field in ProviderCredentials._meta.concrete_fields
    if field.name in NAMED
}

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[ProviderCredentials]
else:
    _ModelForm = forms.ModelForm


def _heading(provider: Provider, field: str) -> str:
    """The network's label of a field: words with a capital, an identifier as it is."""
    theirs = label(provider, field)
    return capfirst(theirs) if " " in theirs else theirs


class SecretField(forms.CharField):
    """A `Secret`, empty when nothing was entered. Rendered empty, whatever is stored or was just sent."""

    def __init__(self) -> None:
        attrs = {"autocomplete": "new-password", "class": "vTextField"}
        super().__init__(required=False, widget=forms.PasswordInput(attrs=attrs))

    def clean(self, value: Any) -> Secret:
        return Secret(super().clean(value))


class ProviderCredentialsForm(_ModelForm):
    """A secret that is left empty stays as it is; to remove it takes a tick of its own."""

    client_secret = SecretField()
    client_key = SecretField()
    remove_client_secret = forms.BooleanField(required=False)
    remove_client_key = forms.BooleanField(required=False)

    class Meta:
        model = ProviderCredentials
        fields = ("name", *FIELDS)
        help_texts = {
            "implicit_enabled": gettext_lazy(
                "Tokens then pass through browsers: only for what the authorization code grant does not give."
            )
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial.update(dict.fromkeys(SECRETS, ""))
        for name in set(NAMED).intersection(self.fields):
            self._name(name)
        if "client_id" in self.fields:
            self.fields["client_id"].widget.attrs["autocomplete"] = "off"
        if "ways" in self.fields:
            self._name_ways()
        if self.instance.pk:
            self._warn()

    def _name(self, name: str) -> None:
        """Call a field what its network calls it: the row's own one, or each of those that can be chosen."""
        field = self.fields[name]
        own = self.instance.known_provider() if self.instance.pk else None
        names_it = own and _heading(own, name)
        field.label = names_it or capfirst(_PLAIN[name])
        if remove := self.fields.get(f"remove_{name}"):
            remove.label = format_lazy(gettext_lazy("{field}: remove the stored value"), field=field.label)
        helps: list[str] = []
        if names_it:
            helps.append(format_html(_("In code and settings: {}."), format_html("<code>{}</code>", name)))
        elif not self.instance.pk:
            helps += [
                format_html("{}: {}", provider.title, format_html("<b>{}</b>", _heading(provider, name)))
                for provider in known_networks()
                if label(provider, name)
            ]
        if name in SECRETS and getattr(self.instance, name):
            kept = format_html('<b class="socialgrants-stored">{}</b>', stored(getattr(self.instance, name)))
            helps.append(format_html(_("Stored: {}. Leave empty to keep it."), kept))
        field.help_text = format_html_join(
            " · " if not self.instance.pk else " ", "{}", ((h,) for h in helps)
        )

    def _name_ways(self) -> None:
        """Say what ways there are to choose from: those of the row's own network, or of all."""
        own = self.instance.known_provider() if self.instance.pk else None
        ways = [way for network in ([own] if own else known_networks()) for way in network.ways.items()]
        named = format_html_join(", ", "<code>{}</code> ({})", ways)
        field = self.fields["ways"]
        field.help_text = format_html("{} {}", field.help_text, named) if ways else field.help_text

    def _warn(self) -> None:
        """Tell at each field what looks wrong with what is stored."""
        warnings: dict[str, list[str]] = {}
        for problem in problems(self.instance):
            warnings.setdefault(problem.field, []).append(f"{problem.message}. {problem.hint}")
        if self.instance.known_provider() is None:
            text = _("This site does not know the network %(network)s: see SOCIALGRANTS_PROVIDERS.")
            warnings.setdefault("provider", []).append(text % {"network": self.instance.provider})
        if self.instance.name in declared()[0]:
            text = _(
                "SOCIALGRANTS_CREDENTIALS declares this application: sync_credentials undoes what is changed here."
            )
            warnings.setdefault("name", []).append(text)
        for name, lines in warnings.items():
            if name in self.fields:
                html = format_html_join(
                    "", '<div class="socialgrants-problem">{}</div>', ((x,) for x in lines)
                )
                self.fields[name].help_text = format_html("{}{}", self.fields[name].help_text, html)

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        for name in SECRETS:
            removed = data.get(f"remove_{name}")
            if data.get(name) and removed:
                self.add_error(f"remove_{name}", _("Either enter a new value or remove the stored one."))
            elif not removed and not data.get(name):
                data[name] = getattr(self.instance, name)  # encrypted anew when what it is bound to changes
        try:
            crypto.keys()
        except ImproperlyConfigured as error:
            text = _("Nothing can be encrypted: %(error)s.")
            raise forms.ValidationError(text, params={"error": error}) from None
        return data

    @property
    def changed_columns(self) -> list[str]:
        """The fields of the model that have to be written."""
        names = (name.removeprefix("remove_") for name in self.changed_data)
        return list(dict.fromkeys(names))
