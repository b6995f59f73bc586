"""`path("social/", include("django_socialgrants.urls"))`."""

from django.urls import path

from .web import views

app_name = "socialgrants"
urlpatterns = [
    path("connections/", views.connections, name="connections"),
    path("connections/<int:pk>/disconnect/", views.disconnect, name="disconnect"),
    path("<slug:name>/code/", views.code, name="code"),
    path("<slug:name>/code/callback/", views.code_callback, name="code_callback"),
    path("<slug:name>/implicit/", views.implicit, name="implicit"),
    path("<slug:name>/exchange/", views.exchange, name="exchange"),
    path("<slug:name>/implicit/callback/", views.implicit_callback, name="implicit_callback"),
    # Without the slash too: a redirect that adds it would take a fragment along.
    path("<slug:name>/code/callback", views.code_callback),
    path("<slug:name>/implicit/callback", views.implicit_callback),
]
