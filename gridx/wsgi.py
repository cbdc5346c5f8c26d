"""The WSGI server's door, for pages and the API."""

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gridx.settings")

application = get_wsgi_application()

# What was loaded stays: searching it for garbage takes tens of milliseconds of some request.
gc.collect()
gc.freeze()
