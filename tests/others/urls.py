"""A site that has django-allauth and python-social-auth, and us beside them."""

from django.urls import include, path

urlpatterns = [
    path("accounts/", include("allauth.urls")),
    path("auth/", include("social_django.urls", namespace="social")),
    path("", include("tests.urls")),
]
