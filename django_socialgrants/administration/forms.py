"""The form of an application: its secrets go in and never come out."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ImproperlyConfigured
from django.utils.html import format_html, format_html_join
from django.utils.text import capfirst, format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_socialgrants import crypto
from django_socialgrants.applications.declared import declared
from django_socialgrants.applications.problems import problems
from django_socialgrants.exceptions import DecryptionError
from django_socialgrants.models import ProviderCredentials
from django_socialgrants.oauth.values import Secret

from .facts import known_networks, network, stored
from .words import label

SECRETS = ("client_secret", "client_key")
NAMED = ("client_id", *SECRETS)
"""Fields for which every network has a name of its own."""

_IDENTITY = ("provider", "client_id")
"""What an application is at its network, and what its secrets are bound to."""

_LONGEST = 4096

_PLAIN: dict[str, Any] = {
    field.name: field.verbose_name
    for field in ProviderCredentials._meta.concrete_fields
    if field.name in NAMED
}

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[ProviderCredentials]
else:
    _ModelForm = forms.ModelForm


class SecretField(forms.CharField):
    """A `Secret`, empty when nothing was entered. Rendered empty, whatever is stored or was just sent."""

    def __init__(self) -> None:
        attrs = {"autocomplete": "new-password", "class": "vTextField"}
        super().__init__(required=False, max_length=_LONGEST, widget=forms.PasswordInput(attrs=attrs))

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
        fields = ("name", "provider", "client_id", *SECRETS, "scope", "implicit_enabled")
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
        if self.instance.pk:
            self._warn()

    def _name(self, name: str) -> None:
        """Call a field what its network calls it: the row's own one, or each of those that can be chosen."""
        field = self.fields[name]
        own = network(self.instance) if self.instance.pk else None
        names_it = own and label(own, name)
        field.label = names_it or capfirst(_PLAIN[name])
        if remove := self.fields.get(f"remove_{name}"):
            remove.label = format_lazy(gettext_lazy("{field}: remove the stored value"), field=field.label)
        helps: list[str] = []
        if names_it:
            helps.append(format_html(_("In code and settings: {}."), format_html("<code>{}</code>", name)))
        elif not self.instance.pk:
            helps += [
                format_html("{}: {}", provider.title, format_html("<b>{}</b>", label(provider, name)))
                for provider in known_networks()
                if label(provider, name)
            ]
        if name in SECRETS and getattr(self.instance, name):
            kept = format_html('<b class="socialgrants-stored">{}</b>', stored(getattr(self.instance, name)))
            helps.append(format_html(_("Stored: {}. Leave empty to keep it."), kept))
        field.help_text = format_html_join(
            " · " if not self.instance.pk else " ", "{}", ((h,) for h in helps)
        )

    def _warn(self) -> None:
        """Tell at each field what looks wrong with what is stored."""
        warnings: dict[str, list[str]] = {}
        for problem in problems(self.instance):
            warnings.setdefault(problem.field, []).append(f"{problem.message}. {problem.hint}")
        if network(self.instance) is None:
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
        self._check_keys()
        self._check_identity()
        for name in SECRETS:
            removed = data.get(f"remove_{name}")
            if data.get(name):
                if removed:
                    self.add_error(f"remove_{name}", _("Either enter a new value or remove the stored one."))
            elif not removed:
                data[name] = self._kept(name)
        return data

    def _kept(self, name: str) -> Secret:
        """The stored secret, which is encrypted anew when what it is bound to changes."""
        secret: Secret = getattr(self.instance, name)
        if set(_IDENTITY).intersection(self.changed_data):
            try:
                secret.reveal()
            except DecryptionError:
                text = _("The stored value can't be decrypted, so it can't be kept when %(fields)s change.")
                fields = " / ".join(str(self.fields[field].label) for field in _IDENTITY)
                self.add_error(name, text % {"fields": fields})
        return secret

    def _check_keys(self) -> None:
        try:
            crypto.keys()
        except ImproperlyConfigured as error:
            raise forms.ValidationError(
                _("Nothing can be encrypted: %(error)s."), params={"error": error}
            ) from None

    def _check_identity(self) -> None:
        """The same user id at another network is another person, who would get into this one's account."""
        if self.instance.pk and "provider" in self.changed_data and self.instance.tokens.exists():
            text = _(
                "Users have granted access at the present network, and their ids are those of other people "
                "elsewhere. Add an application of its own for the other network."
            )
            self.add_error("provider", text)

    @property
    def changed_columns(self) -> list[str]:
        """The fields of the model that have to be written."""
        names = (name.removeprefix("remove_") for name in self.changed_data)
        return list(dict.fromkeys(names))
