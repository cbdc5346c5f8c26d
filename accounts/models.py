"""Who owns what, and who may sign in: the account tree, users, the audit log, the outbox."""

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.expressions import Func, Value
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from accounts.access import Role, ScopedQuerySet


class NextKey(Func):
    """The next of the small integers that stand for a row inside paths and measurement tables."""

    function = "nextval"
    output_field = models.IntegerField()

    def __init__(self, sequence: str, **extra):
        super().__init__(Value(sequence), **extra)


class Identified(models.Model):
    """A row with a public id (UUIDv7, so that it indexes well) and its times."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    class Meta:
        abstract = True


class AccountQuerySet(ScopedQuerySet):
    account_path = "path"

    def below(self, account: "Account") -> "AccountQuerySet":
        """The account itself and everything beneath it."""
        return self.filter(path__startswith=account.path)


class Account(Identified):
    """An organisational unit; a node of the tree. A customer is one of kind `end-user`.

    `path` holds the keys from the root down with a closing dot (`1.7.12.`), so that a subtree is
    one range of one index. The database keeps it (trigger `account_path`), refuses cycles, and
    refuses accounts below a customer.
    """

    class Kind(models.TextChoices):
        BUSINESS = "b2b", _("Business")
        CUSTOMER = "end-user", _("Customer")

    class Solution(models.TextChoices):
        CHARGE = "CHARGE", "Charge"
        COMMERCIAL = "COMMERCIAL", "Commercial"
        CUSTOM_P2P = "CUSTOM_P2P", "Custom P2P"
        GENERAL = "GENERAL", "General"
        HOME = "HOME", "Home"
        HOME_VIRTUAL_METERING = "HOME_VIRTUAL_METERING", "Home, virtual metering"
        MICROGRID = "MICROGRID", "Microgrid"
        SMART_DISTRICT = "SMART_DISTRICT", "Smart district"

    key = models.IntegerField(
        unique=True, editable=False, db_default=NextKey("accounts_account_key")
    )
    parent = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="children",
        verbose_name=_("parent"),
    )
    path = models.TextField(unique=True, editable=False, db_default=Value(""))
    kind = models.CharField(_("kind"), max_length=8, choices=Kind, default=Kind.BUSINESS)
    name = models.CharField(_("name"), max_length=200)
    email = models.EmailField(_("e-mail"), blank=True)
    solution = models.CharField(
        _("solution"), max_length=24, choices=Solution, default=Solution.GENERAL
    )
    address_line1 = models.CharField(_("address"), max_length=200, blank=True)
    postal_code = models.CharField(_("postal code"), max_length=20, blank=True)
    city = models.CharField(_("city"), max_length=100, blank=True)
    country = models.CharField(
        _("country"),
        max_length=2,
        blank=True,
        validators=[RegexValidator(r"^[A-Z]{2}$", _("Two capital letters (ISO 3166-1)."))],
    )

    objects = AccountQuerySet.as_manager()

    class Meta:
        verbose_name = _("account")
        verbose_name_plural = _("accounts")
        constraints = [
            models.CheckConstraint(
                name="account_root_is_business",
                condition=Q(parent__isnull=False) | Q(kind="b2b"),
                violation_error_message=_("A customer has an account above it."),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_customer(self) -> bool:
        return self.kind == self.Kind.CUSTOMER


class UserManager(BaseUserManager.from_queryset(ScopedQuerySet)):
    def create_user(self, email: str, password: str | None = None, **fields) -> "User":
        """A user who signs in by e-mail; without a password they set one by mail."""
        user = self.model(email=self.normalize_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, email: str) -> "User":
        return self.get(email__iexact=email)


class User(Identified, AbstractBaseUser, PermissionsMixin):
    """Who signs in. Bound to exactly one account; staff may stand outside of the tree."""

    email = models.EmailField(_("e-mail"), unique=True)
    full_name = models.CharField(_("name"), max_length=200, blank=True)
    phone = models.CharField(_("phone"), max_length=40, blank=True)
    # Nothing, until somebody chooses one for them: then pages keep that of the browser.
    language = models.CharField(
        _("language"),
        max_length=5,
        choices=[("", _("The browser's language")), ("en", "English"), ("de", "Deutsch")],
        blank=True,
        default="",
    )
    account = models.ForeignKey(
        Account,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="users",
        verbose_name=_("account"),
    )
    role = models.CharField(_("role"), max_length=16, choices=Role, default=Role.VIEWER)
    contract_number = models.CharField(_("contract number"), max_length=60, blank=True)
    contract_from = models.DateField(_("contract from"), null=True, blank=True)
    contract_until = models.DateField(_("contract until"), null=True, blank=True)
    meter_number = models.CharField(_("meter number"), max_length=60, blank=True)
    is_active = models.BooleanField(_("active"), default=True)
    is_staff = models.BooleanField(
        _("staff"), default=False, help_text=_("Sees everything and may use Django's admin.")
    )

    objects = UserManager()

    EMAIL_FIELD = "email"
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = []

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        constraints = [
            models.UniqueConstraint(
                Lower("email"),
                name="user_email_unique",
                violation_error_message=_("There is a user with this e-mail already."),
            ),
            models.CheckConstraint(
                name="user_has_account",
                condition=Q(account__isnull=False) | Q(is_staff=True),
                violation_error_message=_("Only staff can be without an account."),
            ),
            models.CheckConstraint(
                name="user_contract_order",
                condition=Q(contract_from__isnull=True)
                | Q(contract_until__isnull=True)
                | Q(contract_from__lt=models.F("contract_until")),
                violation_error_message=_("The contract ends before it begins."),
            ),
        ]

    def __str__(self) -> str:
        return self.full_name or self.email

    def get_short_name(self) -> str:
        return self.full_name.split(" ")[0] or self.email


class AuditEntry(models.Model):
    """Who changed what, when: written in the transaction of the change, never changed after."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    at = models.DateTimeField(_("at"), db_index=True)
    by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("by")
    )
    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, null=True, related_name="+", verbose_name=_("account")
    )
    verb = models.CharField(_("verb"), max_length=60)
    target_kind = models.CharField(_("kind of target"), max_length=60)
    target_id = models.UUIDField(_("target"), db_index=True)
    target_name = models.CharField(_("name of target"), max_length=200, blank=True)
    changes = models.JSONField(_("changes"), default=dict, blank=True)

    objects = ScopedQuerySet.as_manager()

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.verb} {self.target_name}"


class OutboxMessage(models.Model):
    """Something that leaves the process, saved in the transaction of its cause.

    A worker claims due rows (`FOR UPDATE SKIP LOCKED`), sends, and marks them sent or due again.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(_("kind"), max_length=30)
    payload = models.JSONField(_("payload"))
    created_at = models.DateTimeField(_("created"))
    due_at = models.DateTimeField(_("due"))
    sent_at = models.DateTimeField(_("sent"), null=True, blank=True)
    failed_at = models.DateTimeField(_("given up"), null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    last_error = models.TextField(_("last error"), blank=True)

    class Meta:
        verbose_name = _("outgoing message")
        verbose_name_plural = _("outgoing messages")
        indexes = [
            models.Index(
                fields=["due_at"],
                name="outbox_due",
                condition=Q(sent_at__isnull=True, failed_at__isnull=True),
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.created_at:%Y-%m-%d %H:%M}"
