"""Every page and endpoint: the apps' pages, the API, sign-in, and Django's admin."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from django.views.i18n import set_language

from accounts.sign_in import SignOut, admin_sign_in
from gridx.api_errors import not_found
from gridx.pages import gateways

handler400 = "gridx.api_errors.bad_request"
handler403 = "gridx.error_pages.permission_denied"
handler404 = "gridx.error_pages.not_found"
handler500 = "gridx.api_errors.server_error"

urlpatterns = [
    path("", include("accounts.urls")),
    path("", include("inventory.urls")),
    path("", include("gridx.pages.urls")),
    path("gateways/new", gateways.gateway_register, name="gateway_register"),
    path("gateways/<uuid:gateway_id>/secret", gateways.gateway_rotate, name="gateway_rotate"),
    path(
        "gateways/<uuid:gateway_id>/arrivals",
        gateways.gateway_arrivals,
        name="gateway_arrivals",
    ),
    path("language", set_language, name="set_language"),
    # Staff come in by the site's own door.
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/login/", admin_sign_in),
    path("admin/logout/", SignOut.as_view()),
    path("admin/", admin.site.urls),
    path("api", not_found, name="api_root"),
    path("api/", include("gridx.api")),
]
