"""The Celery application of a site: STORM_BROKER names its broker."""

import os

from celery import Celery

app = Celery("site", broker=os.environ["STORM_BROKER"], backend=os.environ["STORM_BROKER"])
app.conf.update(worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)
app.autodiscover_tasks()
