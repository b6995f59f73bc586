"""Refreshes tokens every minute: celery -A demo worker --beat, where REDIS_URL is set. Nothing else needs it."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo.settings")
app = Celery("demo")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
