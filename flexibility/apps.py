from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class FlexibilityConfig(AppConfig):
    name = "flexibility"
    verbose_name = _("Flexibility")

    def ready(self) -> None:
        # What leaves a cluster is looked at there.
        import_module("flexibility.groups.operations")
