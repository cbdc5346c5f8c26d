"""Every page and endpoint: the apps' pages, the API, sign-in, and Django's admin."""

from django.contrib import admin
from django.urls import path

urlpatterns = [
    path("admin/", admin.site.urls),
]
