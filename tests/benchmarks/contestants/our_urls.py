from django.urls import include, path

urlpatterns = [path("social/", include("django_socialgrants.urls"))]
