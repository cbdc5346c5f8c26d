"""The WSGI server's door, for pages and the API."""

import os

from django.core.wsgi import get_wsgi_application

from gridx.garbage import settle

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gridx.settings")

application = get_wsgi_application()
settle()
