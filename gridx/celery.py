"""Celery: workers take their settings from Django's, under `CELERY_`."""

import os

from celery import Celery
from celery.schedules import crontab
from celery.signals import worker_process_init

from gridx.garbage import settle

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gridx.settings")

app = Celery("gridx")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

# Rows are the truth and these only look for them: a run that is missed is caught up by the next.
# `celery beat` is to be a process of its own, which is started again when it ends: inside a worker
# (`--beat`) it is a child that nobody watches, and with it all of these would end unnoticed.
app.conf.beat_schedule = {
    "compute slots": {
        "task": "measurements.tasks.compute_slots",
        "schedule": 2.0,
        "options": {"expires": 2.0},
    },
    "publish schedules": {
        "task": "gridx.tasks.publish_schedules",
        "schedule": 5.0,
        "options": {"expires": 5.0},
    },
    "work bulk actions": {
        "task": "flexibility.tasks.work_bulk_actions",
        "schedule": 5.0,
        "options": {"expires": 5.0},
    },
    "extend series": {
        "task": "flexibility.tasks.extend_series",
        "schedule": 3600.0,
        "options": {"expires": 3600.0},
    },
    "keep proofs of dimmings": {
        "task": "gridx.tasks.keep_proofs",
        "schedule": 600.0,
        "options": {"expires": 600.0},
    },
    "send due mails": {
        "task": "accounts.tasks.send_due_mails",
        "schedule": 10.0,
        "options": {"expires": 10.0},
    },
    "forget what expired": {
        "task": "accounts.tasks.forget_what_expired",
        "schedule": 3600.0,
        "options": {"expires": 3600.0},
    },
    # At night, when there is least to do.
    "check measurements": {
        "task": "measurements.tasks.check_measurements",
        "schedule": crontab(hour="0-5", minute="*/2"),
        "options": {"expires": 120.0},
    },
    "renew days": {
        "task": "measurements.tasks.renew_days",
        "schedule": crontab(hour=0, minute=1),
        "options": {"expires": 3600.0},
    },
    "work imports": {
        "task": "measurements.tasks.work_imports",
        "schedule": 5.0,
        "options": {"expires": 5.0},
    },
    "forget uploads": {
        "task": "measurements.tasks.forget_uploads",
        "schedule": 3600.0,
        "options": {"expires": 3600.0},
    },
    # Often, since the first time comes one period after the start.
    "maintain partitions": {
        "task": "measurements.tasks.maintain_partitions",
        "schedule": 600.0,
        "options": {"expires": 600.0},
    },
}


@worker_process_init.connect
def _settle(**_said) -> None:
    settle()
