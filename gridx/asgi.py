"""The ASGI server's door: pages and API by Django, sockets by Channels."""

import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application

from gridx.garbage import settle

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gridx.settings")

pages = get_asgi_application()

# Only after Django is set up: consumers take models.
from gridx.pages.routing import websocket_urlpatterns  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": pages,
        # Sockets carry the session's cookie, which is nothing to another site's page.
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(URLRouter(websocket_urlpatterns))
        ),
    }
)
settle()
