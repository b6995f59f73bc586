"""Applications in the admin: what staff read, what they may write, and what is never shown to them."""

import html
import re
import subprocess
import sys
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_socialgrants.applications.sync import SyncRefused, sync
from django_socialgrants.models import ApplicationHealth, ProviderCredentials, UserToken
from tests.journey import token_of

LIST = "/admin/socialgrants/providercredentials/"
ADD = f"{LIST}add/"
SECRET = "0123456789abcdef0123F9A7"
PLAIN = {"name": "ok", "provider": "ok", "client_id": "512000000000", "scope": "VALUABLE_ACCESS GET_EMAIL"}


def change_url(credentials):
    return f"{LIST}{credentials.pk}/change/"


def resume_url(credentials):
    return f"{LIST}{credentials.pk}/resume/"


def text_of(response):
    """What is read on a page, without its markup."""
    body = re.sub(r"<(script|style).*?</\1>", " ", response.content.decode(), flags=re.S)
    body = re.sub(r"</?(a|b|code)\b[^>]*>", "", body)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def save(client, credentials=None, **fields):
    """Send the form, and see the page on which the admin goes on."""
    url = change_url(credentials) if credentials else ADD
    return client.post(url, PLAIN | {"_continue": "1"} | fields, follow=True)


def errors_of(response):
    return response.context["adminform"].form.errors if "adminform" in response.context else {}


def staff(*permissions):
    user = get_user_model().objects.create_user("staff", password="x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def viewer(db):
    return staff("view_providercredentials", "view_usertoken")


# --- what goes where ---------------------------------------------------------------------------------------------


def test_the_form_for_a_new_application_has_the_words_of_each_network(admin_client):
    page = text_of(admin_client.get(ADD))
    for words in (
        "OK: Application id · Mail.Ru: app_id",
        "OK: Application secret key · Mail.Ru: secret_key",
        "OK: Application public key · Mail.Ru: private_key",
    ):
        assert words in page


@pytest.mark.parametrize(
    ("app", "labels"),
    [
        ("ok_app", ["Application id:", "Application secret key:", "Application public key:"]),
        ("mailru_app", ["app_id:", "secret_key:", "private_key:"]),
    ],
)
def test_the_form_of_an_application_speaks_the_language_of_its_network(admin_client, request, app, labels):
    page = text_of(admin_client.get(change_url(request.getfixturevalue(app))))
    assert [label for label in labels if label not in page] == []


def test_a_network_without_names_of_its_own_has_ours(admin_client, settings):
    settings.SOCIALGRANTS_PROVIDERS = ["tests.third_network.Meadow"]
    other = ProviderCredentials.objects.create(name="meadow", provider="meadow", client_id="x")
    assert "Client secret:" in text_of(admin_client.get(change_url(other)))


@pytest.mark.parametrize("base_url", [None, "https://example.com"])
def test_the_callback_urls_are_those_of_a_login(admin_client, client, ok_app, settings, base_url):
    settings.SOCIALGRANTS_BASE_URL = base_url
    ok_app.implicit_enabled = True
    ok_app.save()
    page = admin_client.get(change_url(ok_app))
    shown = re.findall(r'<code class="socialgrants-url">(.*?)</code>', page.content.decode())
    sent = []
    for flow in ("code", "implicit"):
        location = client.post(reverse(f"socialgrants:{flow}", args=["ok"]))["Location"]
        sent.append(re.search(r"redirect_uri=([^&]+)", location)[1].replace("%3A", ":").replace("%2F", "/"))
    assert shown == sent
    assert ("begin with the address of this page" in text_of(page)) is (base_url is None)


def test_an_application_without_implicit_grant_has_one_callback_url(admin_client, ok_app):
    page = admin_client.get(change_url(ok_app)).content.decode()
    assert "/social/ok/code/callback/" in page
    assert "/implicit/callback/" not in page


def test_a_new_application_is_told_what_its_callback_url_will_be(admin_client):
    page = admin_client.get(ADD).content.decode()
    assert ">http://testserver/social/NAME/code/callback/<" in page


def test_a_base_url_that_is_not_safe_is_told_instead_of_shown(admin_client, ok_app, settings):
    settings.SOCIALGRANTS_BASE_URL = "http://example.com"
    page = text_of(admin_client.get(change_url(ok_app)))
    assert "SOCIALGRANTS_BASE_URL is not an https:// origin." in page
    assert "http://example.com" not in page


def test_a_site_without_our_urls_is_told_so(admin_client, ok_app, settings):
    settings.ROOT_URLCONF = "tests.admin_urls"
    page = text_of(admin_client.get(change_url(ok_app)))
    assert "The URLs of django_socialgrants are not part of this site's URLconf." in page


# --- secrets -----------------------------------------------------------------------------------------------------


def test_a_new_application_keeps_its_secrets_encrypted(admin_client):
    page = save(admin_client, client_secret=f" {SECRET}\n", client_key="CGEXAMPLEKEYBABABA")
    made = ProviderCredentials.objects.get()
    assert made.client_secret.reveal() == SECRET
    assert made.client_key.reveal() == "CGEXAMPLEKEYBABABA"
    assert SECRET not in page.content.decode()


def test_a_secret_is_known_by_its_last_four_characters(admin_client, ok_app):
    ok_app.client_secret = SECRET
    ok_app.save()
    page = admin_client.get(change_url(ok_app))
    assert "Stored: …F9A7." in text_of(page)
    assert SECRET[-5:] not in page.content.decode()


@pytest.mark.parametrize("length", [1, 4, 15])
def test_nothing_is_told_of_a_short_secret(admin_client, ok_app, length):
    ok_app.client_secret = ("zqj" * 5)[:length]
    ok_app.save()
    page = text_of(admin_client.get(change_url(ok_app)))
    assert "Stored: ***." in page
    assert "…" not in page.replace("…BABA", "").replace("filter…", "")


def test_what_is_left_empty_stays_as_it_is(admin_client, ok_app):
    before = ProviderCredentials.objects.values_list("client_secret", "client_key").get()
    save(admin_client, ok_app, scope="SET_STATUS")
    after = ProviderCredentials.objects.get()
    assert after.scope == "SET_STATUS"
    assert ProviderCredentials.objects.values_list("client_secret", "client_key").get() == before
    assert after.client_secret.reveal() == "ok-client-secret"


def test_a_secret_that_another_process_has_encrypted_anew_meanwhile_is_not_overwritten(
    admin_client, ok_app, monkeypatch
):
    field = ProviderCredentials._meta.get_field("client_secret")
    rotated = field.seal(ok_app, "ok-client-secret")
    clean = ProviderCredentials.full_clean

    def meanwhile(self, *args, **kwargs):
        ProviderCredentials.objects.filter(pk=ok_app.pk).update(client_secret=rotated)
        return clean(self, *args, **kwargs)

    monkeypatch.setattr(ProviderCredentials, "full_clean", meanwhile)
    save(admin_client, ok_app, scope="SET_STATUS")
    kept = ProviderCredentials.objects.get()
    assert kept.scope == "SET_STATUS"
    assert kept.client_secret.ciphertext == rotated.ciphertext


def test_a_new_secret_takes_the_place_of_the_old_one_and_history_has_only_its_name(admin_client, ok_app):
    save(admin_client, ok_app, client_secret=SECRET)
    after = ProviderCredentials.objects.get()
    assert (after.client_secret.reveal(), after.client_key.reveal()) == (SECRET, "CGEXAMPLEKEYBABABA")
    assert LogEntry.objects.get().get_change_message() == "Changed Application secret key."


def test_a_secret_is_removed_by_a_tick_of_its_own(admin_client, ok_app):
    save(admin_client, ok_app, remove_client_key="on")
    after = ProviderCredentials.objects.get()
    assert not after.client_key
    assert after.client_secret.reveal() == "ok-client-secret"
    message = "Changed Application public key: remove the stored value."
    assert LogEntry.objects.get().get_change_message() == message


def test_to_remove_and_to_replace_at_once_is_refused(admin_client, ok_app):
    page = save(admin_client, ok_app, remove_client_key="on", client_key=SECRET)
    assert list(errors_of(page)) == ["remove_client_key"]
    assert SECRET not in page.content.decode()
    assert ProviderCredentials.objects.get().client_key.reveal() == "CGEXAMPLEKEYBABABA"


def test_secrets_follow_a_changed_client_id(admin_client, ok_app):
    save(admin_client, ok_app, client_id="512000000777")
    after = ProviderCredentials.objects.get()
    assert (after.client_id, after.client_secret.reveal()) == ("512000000777", "ok-client-secret")


def test_what_looks_like_a_ciphertext_is_a_secret_like_any_other(admin_client, ok_app):
    save(admin_client, ok_app, client_secret="v1.00000000.AAAA")
    assert ProviderCredentials.objects.get().client_secret.reveal() == "v1.00000000.AAAA"


# --- a lost key --------------------------------------------------------------------------------------------------


@pytest.fixture
def lost_key(ok_app, settings):
    settings.SECRET_KEY = "another-secret-key-that-is-long-enough-for-everybody"
    return ok_app


@pytest.mark.parametrize("url", [LIST, None])
def test_a_lost_key_breaks_no_page(lost_key, viewer, client, django_user_model, url):
    client.force_login(django_user_model.objects.create_superuser("root"))
    for visitor in (client, viewer):
        page = visitor.get(url or change_url(lost_key))
        assert page.status_code == 200
        if url is None:
            assert text_of(page).count("set, but can't be decrypted") == 2


def test_a_secret_whose_key_is_lost_can_be_replaced_or_removed(lost_key, client, django_user_model):
    client.force_login(django_user_model.objects.create_superuser("root"))
    assert "can't be decrypted (key " in text_of(client.get(change_url(lost_key)))
    assert save(client, lost_key, client_secret=SECRET, remove_client_key="on").status_code == 200
    after = ProviderCredentials.objects.get()
    assert (after.client_secret.reveal(), bool(after.client_key)) == (SECRET, False)


def test_a_secret_whose_key_is_lost_stays_where_it_is_bound(lost_key, client, django_user_model):
    client.force_login(django_user_model.objects.create_superuser("root"))
    assert save(client, lost_key, scope="SET_STATUS").status_code == 200
    assert ProviderCredentials.objects.get().scope == "SET_STATUS"
    page = save(client, lost_key, client_id="512000000777")
    assert sorted(errors_of(page)) == ["client_key", "client_secret"]
    assert ProviderCredentials.objects.get().client_id == "512000000000"


def test_malformed_keys_break_no_page_and_nothing_is_saved(admin_client, ok_app, settings):
    settings.SOCIALGRANTS_ENCRYPTION_KEYS = ["not a key"]
    assert admin_client.get(change_url(ok_app)).status_code == 200
    page = save(admin_client, ok_app, client_secret=SECRET)
    assert "Nothing can be encrypted" in text_of(page)


@pytest.mark.parametrize("providers", [["tests.fakes.FakeMailRu"], ["tests.nowhere.Network"]])
def test_an_application_of_a_network_that_is_gone_breaks_no_page(admin_client, ok_app, settings, providers):
    settings.SOCIALGRANTS_PROVIDERS = providers
    assert admin_client.get(LIST).status_code == 200
    assert admin_client.get(ADD).status_code == 200
    page = text_of(admin_client.get(change_url(ok_app)))
    assert "This site does not know the network ok" in page


# --- mistakes, and changes that mean more than they seem ---------------------------------------------------------


def test_what_looks_wrong_is_told_at_its_field_and_does_not_stand_in_the_way(admin_client, ok_app):
    page = save(admin_client, ok_app, client_id="CBAEXAMPLEKEYBABABA")
    assert ProviderCredentials.objects.get().client_id == "CBAEXAMPLEKEYBABABA"
    sentence = "client_id (application id) does not look like one of OK."
    assert text_of(page).count(sentence) == 2  # once as message, once at the field
    assert sum(sentence in str(message) for message in page.context["messages"]) == 1


def test_an_application_that_the_settings_declare_says_that_they_win(admin_client, ok_app, settings):
    assert "sync_credentials" not in text_of(admin_client.get(change_url(ok_app)))
    settings.SOCIALGRANTS_CREDENTIALS = {"ok": {"provider": "ok", "client_id": "512000000000"}}
    assert "sync_credentials undoes what is changed here" in text_of(admin_client.get(change_url(ok_app)))


def test_a_new_name_means_new_callback_urls(admin_client, ok_app):
    assert "The callback URLs have changed" in text_of(save(admin_client, ok_app, name="ok-new"))
    assert "The callback URLs have changed" not in text_of(
        save(admin_client, ok_app, name="ok-new", scope="")
    )


@pytest.mark.parametrize("change", [{"client_id": "512000000001"}, {"provider": "mailru"}])
def test_an_application_with_tokens_is_not_turned_into_another_one(admin_client, ok_app, admin_user, change):
    """Whoever has the same user id there would be let in as the user of here."""
    token_of(admin_user, ok_app)
    page = save(admin_client, ok_app, **change)
    assert list(errors_of(page)) == list(change)
    assert "It has 1 token of a user" in text_of(page)
    stored = ProviderCredentials.objects.get()
    assert (stored.provider, stored.client_id) == ("ok", "512000000000")
    assert errors_of(save(admin_client, ok_app, scope="")) == {}


def test_an_application_without_tokens_may_become_another_one(admin_client, ok_app):
    assert errors_of(save(admin_client, ok_app, provider="mailru", client_id="423004")) == {}
    stored = ProviderCredentials.objects.get()
    assert (stored.provider, stored.client_id) == ("mailru", "423004")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("client_id", "5120\x7f"),
        ("client_secret", "x" * 4097),
        ("client_key", "AB\u2028BA"),
        ("scope", "A\tB"),
    ],
)
def test_the_admin_refuses_what_sync_credentials_refuses(admin_client, ok_app, settings, field, value):
    assert list(errors_of(save(admin_client, ok_app, **{field: value}))) == [field]
    settings.SOCIALGRANTS_CREDENTIALS = {"ok": {"client_id": "512000000000", field: value}}
    with pytest.raises(SyncRefused, match=rf"ok\.{field}"):
        sync()


# --- ways in, and native apps ------------------------------------------------------------------------------------


@pytest.fixture
def gates(settings):
    settings.SOCIALGRANTS_PROVIDERS = ["tests.test_validation.Gates", "tests.fakes.FakeOK"]
    return ProviderCredentials.objects.create(name="gates", provider="gates", client_id="7")


def test_the_ways_in_of_a_network_are_named_and_kept_in_order(admin_client, gates):
    page = text_of(admin_client.get(change_url(gates)))
    assert "north (North gate), south (South gate)" in page
    fields = {"name": "gates", "provider": "gates", "client_id": "7"}
    assert errors_of(save(admin_client, gates, **fields, ways="  south north ")) == {}
    assert ProviderCredentials.objects.get().ways == "south north"
    page = save(admin_client, gates, **fields, ways="south west")
    assert list(errors_of(page)) == ["ways"]
    assert "no way in that is called west; known: north, south." in text_of(page)


def test_redirect_uris_of_native_apps_are_of_their_kinds(admin_client, gates):
    fields = {"name": "gates", "provider": "gates", "client_id": "7"}
    page = save(admin_client, gates, **fields, native_redirect_uris="com.example.app:/a\nhttp://example.com/")
    assert list(errors_of(page)) == ["native_redirect_uris"]
    assert "Line 2: http:// is only for" in text_of(page)


def test_an_application_shows_only_what_its_network_has(admin_client, ok_app, gates):
    def fields(credentials):
        return set(admin_client.get(change_url(credentials)).context["adminform"].form.fields)

    special = {"implicit_enabled", "ways", "native_redirect_uris"}
    assert special & fields(ok_app) == {"implicit_enabled"}
    assert special & fields(gates) == {"ways", "native_redirect_uris"}


# --- its health ------------------------------------------------------------------------------------------------


@pytest.fixture
def paused(ok_app):
    until = timezone.now() + timedelta(minutes=30)
    return ApplicationHealth.objects.create(
        credentials=ok_app, failures=12, paused_until=until, reason="outage"
    )


def test_tokens_are_counted_by_state(admin_client, ok_app, other_ok_app, admin_user):
    for number, state in enumerate(["active", "active", "needs_login"]):
        token_of(admin_user, ok_app, uid=str(number), state=state)
    token_of(admin_user, other_ok_app)
    page = admin_client.get(change_url(ok_app))
    assert "active: 2 needs login: 1" in text_of(page)
    [link] = re.findall(r'href="([^"]*needs_login[^"]*)"', page.content.decode())
    assert "1 user token" in text_of(admin_client.get(html.unescape(link)))


def test_an_application_in_trouble_says_why_and_is_resumed_by_a_button(admin_client, paused):
    page = text_of(admin_client.get(change_url(paused.credentials)))
    assert "the network is out of order 12 failures in a row paused until" in page
    assert "paused" in text_of(admin_client.get(LIST))
    page = text_of(admin_client.post(resume_url(paused.credentials), follow=True))
    assert "nothing is wrong" in page
    paused.refresh_from_db()
    assert (paused.failures, paused.paused_until, paused.reason) == (0, None, "")
    assert LogEntry.objects.get().get_change_message() == "Resumed refreshing."


def test_several_applications_are_resumed_at_once(admin_client, paused, other_ok_app):
    data = {"action": "resume_selected", "_selected_action": [paused.pk, other_ok_app.pk]}
    assert admin_client.post(LIST, data, follow=True).status_code == 200
    paused.refresh_from_db()
    assert paused.paused_until is None


def test_resuming_takes_a_post(admin_client, paused):
    assert admin_client.get(resume_url(paused.credentials)).status_code == 405
    paused.refresh_from_db()
    assert paused.failures == 12


def test_resuming_what_is_gone_is_not_found(admin_client):
    assert admin_client.post(f"{LIST}7/resume/").status_code == 404


# --- who only looks ----------------------------------------------------------------------------------------------


def test_viewers_change_and_resume_nothing(viewer, paused):
    page = viewer.get(change_url(paused.credentials))
    assert page.status_code == 200
    assert "Resume now" not in text_of(page)
    assert 'type="password"' not in page.content.decode()
    assert "paused until" in text_of(page)
    assert viewer.post(resume_url(paused.credentials)).status_code == 403
    assert viewer.post(change_url(paused.credentials), PLAIN | {"client_secret": SECRET}).status_code == 403
    data = {"action": "resume_selected", "_selected_action": [paused.pk]}
    viewer.post(LIST, data)
    assert ProviderCredentials.objects.get().client_secret.reveal() == "ok-client-secret"
    paused.refresh_from_db()
    assert paused.failures == 12


def test_viewers_see_of_a_secret_what_all_others_see(viewer, ok_app):
    ok_app.client_secret, ok_app.client_key = SECRET, ""
    ok_app.save()
    page = text_of(viewer.get(change_url(ok_app)))
    assert "Client secret: …F9A7" in page
    assert "Client key: not set" in page


def test_nobody_else_gets_in(db, ok_app):
    client = staff()
    for url in (LIST, ADD, change_url(ok_app)):
        assert client.get(url).status_code == 403
    assert client.post(resume_url(ok_app)).status_code == 403


def test_deleting_an_application_deletes_its_tokens(admin_client, ok_app, admin_user):
    token_of(admin_user, ok_app)
    assert admin_client.post(f"{LIST}{ok_app.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not UserToken.objects.exists()


# --- a site without Django's admin -------------------------------------------------------------------------------

WITHOUT_ADMIN = """
import sys, django
from django.conf import settings
settings.configure(
    SECRET_KEY="x" * 50,
    ROOT_URLCONF="django_socialgrants.urls",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_socialgrants"],
)
django.setup()
from django.core.checks import run_checks
from django.urls import reverse
run_checks()
reverse("connections")
print([name for name in sys.modules if name.startswith(("django.contrib.admin.", "django_socialgrants.admin"))])
"""


@pytest.mark.slow
def test_a_site_needs_no_admin():
    done = subprocess.run([sys.executable, "-c", WITHOUT_ADMIN], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
