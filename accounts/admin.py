"""Staff support for accounts, users, the audit log and the outbox."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.admin import Group  # its admin is registered by this import
from django.db import DEFAULT_DB_ALIAS, IntegrityError, transaction
from django.db.models import Model, Q, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from oauth2_provider import admin as _tokens  # noqa: F401  registers them, before they go below

from accounts import operations, outbox, queries
from accounts.audit import Verb, record_change
from accounts.by_hand import (
    CarefulList,
    SelectOne,
    SelectSeveral,
    answer_typing,
    keys_among,
    values_among,
)
from accounts.forms import ACCOUNT_REFUSALS, TrialSaveForm
from accounts.hints import run_soon
from accounts.models import Account, AuditEntry, OutboxMessage, User
from accounts.tasks import send_due_mails
from gridx import clock

# Roles say what users may do; Django's groups would be a second, unheeded answer.
admin.site.unregister(Group)
# Of tokens only checksums are kept, they end with the password or the user's access, and one row
# stands for all clients: nothing there is for hands.
admin.site.unregister(
    [model for model in admin.site._registry if model._meta.app_label == "oauth2_provider"]
)
admin.site.autocomplete_view = partial(answer_typing, admin_site=admin.site)


class StaffAdmin(admin.ModelAdmin):
    """An admin in which staff may do everything, and what they do goes into the audit log.

    What the database refuses is an error of the form (`TrialSaveForm`), and so is what no page of
    the admin's sends (`accounts.by_hand`). `fixed_fields` are set once: a later edit by hand would
    break what an operation keeps. `kept` has words for rows that the database does not let go, by
    the constraint that it names: the page that asks whether to delete tells them instead.
    """

    form = TrialSaveForm
    fixed_fields: tuple[str, ...] = ()
    kept: Mapping[str, str | Promise] = {}
    show_full_result_count = False
    list_per_page = 50

    def has_module_permission(self, request: HttpRequest) -> bool:
        return request.user.is_active and request.user.is_staff

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.has_module_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_module_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.has_module_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.has_module_permission(request)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None):
        fields = tuple(super().get_readonly_fields(request, obj))
        return fields if obj is None else (*fields, *self.fixed_fields)

    def get_changelist(self, request: HttpRequest, **kwargs) -> type[CarefulList]:
        return CarefulList

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return values_among(super().get_changeform_initial_data(request), self.model)

    def response_action(self, request: HttpRequest, queryset: QuerySet):
        request.POST = request.POST.copy()
        selected = keys_among(request.POST.getlist(ACTION_CHECKBOX_NAME), self.model)
        request.POST.setlist(ACTION_CHECKBOX_NAME, selected)
        return super().response_action(request, queryset)

    def formfield_for_foreignkey(self, db_field, request: HttpRequest, **kwargs):
        if db_field.name in self.autocomplete_fields:
            kwargs["widget"] = SelectOne(db_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_manytomany(self, db_field, request: HttpRequest, **kwargs):
        if db_field.name in self.autocomplete_fields:
            kwargs["widget"] = SelectSeveral(db_field, self.admin_site)
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def account_of(self, obj: Any) -> Account | None:
        """The account whose admins may read of a change."""
        return obj.account

    def save_model(self, request: HttpRequest, obj: Model, form: ModelForm, change: bool) -> None:
        super().save_model(request, obj, form, change)
        record_change(
            verb=Verb.CHANGED if change else Verb.CREATED,
            target=obj,
            account=self.account_of(obj),
            by=request.user,
            now=clock.now(),
            changes={name: [None, str(getattr(obj, name, ""))] for name in form.changed_data},
        )

    def get_deleted_objects(self, objs, request: HttpRequest):
        deleted, counts, lacking, protected = super().get_deleted_objects(objs, request)
        kept = [words for obj in objs if (words := self._why_kept(obj))] if self.kept else []
        return deleted, counts, set() if kept else lacking, [*kept, *protected]

    def _why_kept(self, obj: Model) -> str:
        """Why the database does not let this row go, asked of itself; empty where it does."""
        try:
            with transaction.atomic():
                self.model._base_manager.filter(pk=obj.pk)._raw_delete(DEFAULT_DB_ALIAS)
                transaction.set_rollback(True)
        except IntegrityError as error:
            words = self.kept.get(operations.constraint_of(error) or "")
            if words is None:
                raise
            page = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
            return format_html('<a href="{}">{}</a>: {}', reverse(page, args=[obj.pk]), obj, words)
        return ""

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        record_change(
            verb=Verb.REMOVED,
            target=obj,
            account=self.account_of(obj),
            by=request.user,
            now=clock.now(),
        )
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet) -> None:
        for obj in queryset:
            self.delete_model(request, obj)


class ReadOnlyAdmin(StaffAdmin):
    """An admin to look at what only the program writes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class AccountAdminForm(TrialSaveForm):
    refusals = ACCOUNT_REFUSALS


@admin.register(Account)
class AccountAdmin(StaffAdmin):
    form = AccountAdminForm
    # Moving one changes who sees what and which systems stay in their pools: a page does it.
    fixed_fields = ("parent", "kind")
    list_display = ("name", "kind", "parent", "city", "email", "created_at")
    list_filter = ("kind", "solution")
    list_select_related = ("parent",)
    search_fields = ("name", "email", "city", "users__email", "users__full_name")
    search_help_text = _("Name, e-mail, town, or a user's name or e-mail")
    autocomplete_fields = ("parent",)
    readonly_fields = ("links", "path", "created_at", "updated_at")
    ordering = ("name",)

    def account_of(self, obj: Account) -> Account:
        return obj

    @admin.display(description=_("pages"))
    def links(self, obj: Account) -> str:
        if obj._state.adding:
            return "–"
        return format_html(
            '<a href="{}">{}</a> · <a href="{}">{}</a> · <a href="{}">{}</a>',
            reverse("account_detail", args=[obj.pk]),
            _("Account"),
            reverse("account_inventory", args=[obj.pk]),
            _("Inventory"),
            reverse("account_move", args=[obj.pk]),
            _("Move"),
        )


class UserAdminForm(TrialSaveForm):
    refusals = {
        "user_email_unique": ("email", _("There is a user with this e-mail already.")),
        "user_has_account": ("account", _("Only staff can be without an account.")),
    }

    def clean(self):
        cleaned = super().clean()
        account, role = cleaned.get("account"), cleaned.get("role")
        if account is not None and role and role not in operations.roles_within(account):
            self.add_error("role", operations.role_refusal(account))
        return cleaned


@admin.register(User)
class UserAdmin(StaffAdmin):
    form = UserAdminForm
    list_display = ("email", "full_name", "account", "role", "is_active", "is_staff", "last_login")
    list_filter = ("role", "is_active", "is_staff", "language")
    list_select_related = ("account",)
    search_fields = ("email", "full_name", "account__name", "contract_number", "meter_number")
    search_help_text = _("E-mail, name, account, contract or meter number")
    autocomplete_fields = ("account",)
    readonly_fields = ("last_login", "created_at", "updated_at")
    ordering = ("email",)
    actions = ("send_password_link",)
    fieldsets = (
        (None, {"fields": ("email", "full_name", "phone", "language")}),
        (_("Access"), {"fields": ("account", "role", "is_active", "is_staff", "last_login")}),
        (
            _("Contract"),
            {"fields": ("contract_number", "contract_from", "contract_until", "meter_number")},
        ),
        (_("Times"), {"fields": ("created_at", "updated_at")}),
    )

    def save_model(self, request: HttpRequest, obj: User, form: ModelForm, change: bool) -> None:
        if not change:
            obj.set_unusable_password()
        super().save_model(request, obj, form, change)
        if not change:
            operations.invite_again(user=obj, by=request.user, now=clock.now())
            messages.info(request, _("An invitation is on its way to %s.") % obj.email)

    @admin.action(description=_("Mail a link that sets a new password"))
    def send_password_link(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        for user in queryset:
            operations.request_password_reset(email=user.email, now=clock.now())
        text = ngettext("%d mail is on its way.", "%d mails are on their way.", len(queryset))
        messages.success(request, text % len(queryset))


class NamedValuesFilter(admin.AllValuesFieldListFilter):
    """The values that there are, shown by their names."""

    @staticmethod
    def name_of(value: str) -> str:
        raise NotImplementedError

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:
        for choice in super().choices(changelist):
            yield choice | {"display": self.name_of(str(choice["display"]))}


class VerbFilter(NamedValuesFilter):
    name_of = staticmethod(queries.verb_name)


class KindFilter(NamedValuesFilter):
    name_of = staticmethod(queries.kind_name)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("at", "by", "verb_name", "kind_name", "target_name", "account")
    list_filter = (("verb", VerbFilter), ("target_kind", KindFilter))
    fields = (
        *("at", "by", "verb_name", "kind_name", "target_name", "target_id", "account"),
        "changes_in_words",
    )
    list_select_related = ("by", "account")
    search_fields = ("target_name", "by__email", "by__full_name", "account__name", "=target_id")
    search_help_text = _("What was changed (name or id), who did it, or the account")
    date_hierarchy = "at"
    ordering = ("-at",)

    @admin.display(description=_("verb"), ordering="verb")
    def verb_name(self, obj: AuditEntry) -> str:
        return queries.verb_name(obj.verb)

    @admin.display(description=_("kind of target"), ordering="target_kind")
    def kind_name(self, obj: AuditEntry) -> str:
        return queries.kind_name(obj.target_kind)

    @admin.display(description=_("changes"))
    def changes_in_words(self, obj: AuditEntry) -> str:
        return "\n".join(
            f"{name}: {after}" if before in (None, "") else f"{name}: {before} → {after}"
            for name, before, after in queries.audit_line(obj).changes
        )


class OutboxStateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin):
        return [("waiting", _("waiting")), ("sent", _("sent")), ("failed", _("given up"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        states = {
            "waiting": Q(sent_at=None, failed_at=None),
            "sent": Q(sent_at__isnull=False),
            "failed": Q(failed_at__isnull=False),
        }
        return queryset.filter(states.get(self.value(), Q()))


@admin.register(OutboxMessage)
class OutboxMessageAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "kind", "about", "due_at", "sent_at", "failed_at", "attempts")
    list_filter = (OutboxStateFilter, "kind")
    search_fields = ("payload__email", "payload__letter", "last_error")
    search_help_text = _("Address, letter, or what the last error said")
    date_hierarchy = "created_at"
    ordering = ("-created_at",)
    actions = ("resend",)

    @admin.display(description=_("about"))
    def about(self, obj: OutboxMessage) -> str:
        return ", ".join(str(value) for value in obj.payload.values())[:120]

    @admin.action(description=_("Send again, now"), permissions=["view"])
    def resend(self, request: HttpRequest, queryset: QuerySet[OutboxMessage]) -> None:
        for message in queryset:
            outbox.resend(message, now=clock.now())
        run_soon(send_due_mails)
        text = ngettext("%d message goes out again.", "%d messages go out again.", len(queryset))
        messages.success(request, text % len(queryset))
