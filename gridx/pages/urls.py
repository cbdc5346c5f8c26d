"""The pages that show several apps at once."""

from django.urls import path

from gridx.pages import home

urlpatterns = [
    path("", home.home, name="home"),
    path("systems/<uuid:system_id>", home.system, name="system"),
    path("systems/<uuid:system_id>/history.csv", home.history_file, name="history_file"),
]
