from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path

from . import views

urlpatterns = [
    path("", views.home, name="home"),
    path("me/", views.me, name="me"),
    path("friends/ok/", views.ok_friends, name="ok_friends"),
    path("friends/mailru/", views.mailru_friends, name="mailru_friends"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    path("social/", include("django_socialgrants.urls")),
]
if settings.SANDBOX:
    urlpatterns += [path("sandbox/", include("django_socialgrants.sandbox.urls"))]
