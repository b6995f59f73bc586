"""A site with both flows, and no view behind them."""

from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def nothing(request: HttpRequest, name: str) -> HttpResponse:
    return HttpResponse()


flows = [
    path("<slug:name>/code/callback/", nothing, name="code_callback"),
    path("<slug:name>/implicit/callback/", nothing, name="implicit_callback"),
]
urlpatterns = [path("social/", include((flows, "socialgrants")))]
