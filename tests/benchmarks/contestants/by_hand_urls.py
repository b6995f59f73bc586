from django.urls import path

from .by_hand import callback, start

urlpatterns = [path("start/", start), path("callback/", callback)]
