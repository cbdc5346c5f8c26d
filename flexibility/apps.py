from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class FlexibilityConfig(AppConfig):
    name = "flexibility"
    verbose_name = _("Flexibility")
