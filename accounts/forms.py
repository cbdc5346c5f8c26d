"""HTML forms of the accounts: people, their roles, the tree."""

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.db import IntegrityError, connection, transaction
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from rest_framework.throttling import BaseThrottle

from accounts.access import Role
from accounts.attempts import (
    MAIL,
    PASSWORD,
    Purpose,
    TooManyAttempts,
    count_attempt,
    forgive_attempts,
)
from accounts.models import Account, User
from accounts.operations import constraint_of, roles_within
from accounts.widgets import DayInput


def take_attempt(purpose: Purpose, *, email: str, address: str) -> None:
    """Count an attempt; too many of them are an error of the form, in words."""
    try:
        count_attempt(purpose=purpose, email=email, address=address)
    except TooManyAttempts as error:
        minutes = -(-error.wait_s // 60)
        raise forms.ValidationError(
            ngettext(
                "Too many attempts. Wait %(minutes)s minute, then try again.",
                "Too many attempts. Wait %(minutes)s minutes, then try again.",
                minutes,
            ),
            params={"minutes": minutes},
            code="too_many",
        ) from error


def network_address(request: HttpRequest) -> str:
    """Where the request comes from, behind as many proxies of our own as the settings say."""
    return BaseThrottle().get_ident(request)


class SignInForm(AuthenticationForm):
    """E-mail and password. Wrong ones get one answer, whatever is wrong with them."""

    error_messages = {
        "invalid_login": _("E-mail and password do not match. Mind capitals in the password."),
        "inactive": _("E-mail and password do not match. Mind capitals in the password."),
    }

    def __init__(self, request=None, *args, **kwargs) -> None:
        super().__init__(request, *args, **kwargs)
        self.fields["username"].widget = forms.EmailInput(
            attrs={"autocomplete": "username", "autofocus": True, "maxlength": 254}
        )

    def clean(self):
        email, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if not email or not password:
            return self.cleaned_data
        address = network_address(self.request)
        take_attempt(PASSWORD, email=email, address=address)
        cleaned = super().clean()
        forgive_attempts(email=email, address=address)
        return cleaned


class PasswordResetForm(forms.Form):
    """Asks for the address only; what it answers does not depend on who has it."""

    email = forms.EmailField(
        label=_("E-mail"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "email", "autofocus": True}),
    )

    def __init__(self, *args, address: str, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.address = address

    def clean(self):
        cleaned = super().clean()
        if "email" in cleaned:
            take_attempt(MAIL, email=cleaned["email"], address=self.address)
        return cleaned


class TrialSaveForm(forms.ModelForm):
    """A form that asks the database itself whether it would take the row.

    What the database keeps (constraints, triggers) is tried in a savepoint and undone; a refusal
    becomes an error of the form, in the words that `refusals` has for the constraint.
    """

    # Constraint to field (None: the form as a whole) and words.
    refusals: dict[str, tuple[str | None, str]] = {}

    def _post_clean(self) -> None:
        super()._post_clean()
        if self.errors:
            return
        adding = self.instance._state.adding
        try:
            with transaction.atomic():
                self.instance.save()
                # What is looked at only when a transaction ends is looked at now.
                with connection.cursor() as cursor:
                    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
                transaction.set_rollback(True)
        except IntegrityError as error:
            field, words = self._refusal(error)
            self.add_error(field if field in self.fields else None, words)
        finally:
            self.instance._state.adding = adding

    def _refusal(self, error: IntegrityError) -> tuple[str | None, str]:
        name = constraint_of(error) or ""
        if name in self.refusals:
            return self.refusals[name]
        for constraint in self._meta.model._meta.constraints:
            if constraint.name == name:
                return None, constraint.get_violation_error_message()
        return None, _("The database refuses this: %(reason)s") % {"reason": error}


ACCOUNT_REFUSALS = {
    "account_customer_is_leaf": ("parent", _("A customer has no sub-accounts.")),
    "account_no_cycle": ("parent", _("An account cannot lie below itself.")),
}


class AccountForm(forms.ModelForm):
    """Name, contact and address of an account."""

    class Meta:
        model = Account
        fields = [
            "name",
            "email",
            "solution",
            "address_line1",
            "postal_code",
            "city",
            "country",
        ]


class NewAccountForm(AccountForm):
    """An account below another one."""

    class Meta(AccountForm.Meta):
        fields = ["kind", *AccountForm.Meta.fields]
        widgets = {"kind": forms.RadioSelect}


class MoveAccountForm(forms.Form):
    """Where an account goes: one of those that the user may see, customers left out."""

    new_parent = forms.ModelChoiceField(
        queryset=Account.objects.none(), label=_("Below"), empty_label=_("Choose…")
    )

    def __init__(self, *args, account: Account, user: User, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.fields["new_parent"].queryset = (
            Account.objects.visible_to(user)
            .filter(kind=Account.Kind.BUSINESS)
            .exclude(path__startswith=account.path)
            .exclude(pk=account.parent_id)
            .order_by("path")
        )


def role_choices(account: Account | None) -> list[tuple[str, str]]:
    """The roles that users of this account can have, in the domain's order."""
    fitting = roles_within(account) if account is not None else frozenset(Role)
    return [(role.value, role.label) for role in Role if role in fitting]


class InvitationForm(forms.ModelForm):
    """Somebody who is to have access."""

    class Meta:
        model = User
        fields = [
            "email",
            "full_name",
            "role",
            "language",
            "phone",
            "contract_number",
            "contract_from",
            "contract_until",
            "meter_number",
        ]
        widgets = {
            "contract_from": DayInput,
            "contract_until": DayInput,
        }

    def __init__(self, *args, account: Account, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        # So that the constraint on staff without an account sees what will be saved.
        self.instance.account = account
        self.fields["role"].choices = role_choices(account)


class UserForm(InvitationForm):
    """What an admin may change of a user; the e-mail is the user's identity and stays."""

    class Meta(InvitationForm.Meta):
        fields = [name for name in InvitationForm.Meta.fields if name != "email"]


class OwnUserForm(UserForm):
    """An admin's own row: the role is for another admin to change."""

    class Meta(UserForm.Meta):
        fields = [name for name in UserForm.Meta.fields if name != "role"]

    def __init__(self, *args, account: Account, **kwargs) -> None:
        forms.ModelForm.__init__(self, *args, **kwargs)


class ProfileForm(forms.ModelForm):
    """What everybody may change of themselves."""

    class Meta:
        model = User
        fields = ["full_name", "phone", "language"]
        widgets = {
            "full_name": forms.TextInput(attrs={"autocomplete": "name"}),
            "phone": forms.TextInput(attrs={"autocomplete": "tel", "type": "tel"}),
        }


class AuditFilterForm(forms.Form):
    """What of the audit log to show."""

    q = forms.CharField(
        label=_("Search"),
        required=False,
        max_length=100,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": _("Name, or who did it")}),
    )
    verb = forms.ChoiceField(label=_("What was done"), required=False)
    kind = forms.ChoiceField(label=_("To what"), required=False)

    def __init__(self, *args, verbs, kinds, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.fields["verb"].choices = [("", _("everything")), *verbs]
        self.fields["kind"].choices = [("", _("everything")), *kinds]
