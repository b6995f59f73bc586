from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template import RequestContext, Template
from django.urls import include, path


def home(request: HttpRequest) -> HttpResponse:
    """A site's own page: the buttons, and who is logged in."""
    template = Template("{% load socialgrants %}<p id='user'>{{ request.user }}</p>{% login_buttons %}")
    return HttpResponse(template.render(RequestContext(request)))


urlpatterns = [
    path("", home, name="home"),
    path("admin/", admin.site.urls),
    path("social/", include("django_socialgrants.urls")),
    path("sandbox/", include("django_socialgrants.sandbox.urls")),
]
