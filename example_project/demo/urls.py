from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path

from . import views

urlpatterns = [
    path("", views.home, name="home"),
    path("me/", views.me, name="me"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    path("social/", include("django_socialgrants.urls")),
]
if settings.SANDBOX:
    urlpatterns += [path("sandbox/", include("django_socialgrants.sandbox.urls"))]
