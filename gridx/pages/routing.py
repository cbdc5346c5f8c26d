"""Addresses of the sockets; everything else is closed as not found."""

from django.urls import path, re_path

from gridx.pages.consumers import ApplianceConsumer, CarConsumer, NoSuchSocket, SystemConsumer

websocket_urlpatterns = [
    path("ws/systems/<uuid:system_id>", SystemConsumer.as_asgi(), name="system_socket"),
    path(
        "ws/appliances/<uuid:appliance_id>",
        ApplianceConsumer.as_asgi(),
        name="appliance_socket",
    ),
    path("ws/cars/<uuid:appliance_id>", CarConsumer.as_asgi(), name="car_socket"),
    re_path(r"", NoSuchSocket.as_asgi()),
]
