"""Where the networks live, with the paths of the real ones.

Mount it where SOCIALGRANTS_SANDBOX_URL says: path("sandbox/", include("django_socialgrants.sandbox.urls")).
"""

from django.urls import path

from . import mailid_oauth, mailru_oauth, mailru_rest, networks, ok_oauth, ok_rest, vkid_oauth, vkid_rest
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
    path("mailru/platform/api/", mailru_rest.call),  # where aiomailru looks for it
    path("vkid/authorize", authorize, {"network": networks.VKID}, name="vkid_authorize"),
    path("vkid/oauth2/auth", vkid_oauth.token, name="vkid_token"),
    path("vkid/oauth2/user_info", vkid_oauth.user_info, name="vkid_user_info"),
    path("vkid/oauth2/revoke", vkid_oauth.revoke, name="vkid_revoke"),
    path("vkid/oauth2/logout", vkid_oauth.logout, name="vkid_logout"),
    path("vkid/method/<str:name>", vkid_rest.call, name="vkid_rest"),
    path("mailid/login", authorize, {"network": networks.MAILID}, name="mailid_authorize"),
    path("mailid/token", mailid_oauth.token, name="mailid_token"),
    path("mailid/userinfo", mailid_oauth.userinfo, name="mailid_userinfo"),
]
