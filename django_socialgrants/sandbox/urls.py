"""Where the networks live, with the paths of the real ones.

Mount it where SOCIALGRANTS_SANDBOX_URL says: path("sandbox/", include("django_socialgrants.sandbox.urls")).
"""

from django.urls import path

from . import mailru_oauth, mailru_rest, networks, ok_oauth, ok_rest
from .authorize import authorize

app_name = "socialgrants_sandbox"

_OK = {"network": networks.OK, "fragment": ok_oauth.fragment}
_MAILRU = {"network": networks.MAILRU, "fragment": mailru_oauth.fragment}

urlpatterns = [
    path("ok/oauth/authorize", authorize, _OK, name="ok_authorize"),
    path("ok/oauth/token.do", ok_oauth.token, name="ok_token"),
    path("ok/fb.do", ok_rest.call, name="ok_rest"),
    path("ok/api/<str:group>/<str:name>", ok_rest.call, name="ok_rest_path"),
    path("mailru/oauth/authorize", authorize, _MAILRU, name="mailru_authorize"),
    path("mailru/oauth/token", mailru_oauth.token, name="mailru_token"),
    path("mailru/platform/api", mailru_rest.call, name="mailru_rest"),
]
