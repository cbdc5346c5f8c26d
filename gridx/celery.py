"""Celery: workers take their settings from Django's, under `CELERY_`."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gridx.settings")

app = Celery("gridx")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
