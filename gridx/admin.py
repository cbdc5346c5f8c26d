"""Django's admin, for staff: what it is called. The apps say what is in it."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

admin.site.site_header = _("gridx administration")
admin.site.site_title = _("gridx administration")
admin.site.index_title = _("Everything, for staff")
