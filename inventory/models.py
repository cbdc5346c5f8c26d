"""What stands where: systems, their gateways and appliances, clusters, pools.

The database itself keeps what must never break (migration `0002_invariants`): an appliance's
gateway, cluster and parent belong to the appliance's system; clusters do not form cycles.
"""

import zoneinfo
from typing import Self

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from accounts.access import ScopedQuerySet
from accounts.models import Account, Identified, NextKey, User
from inventory.kinds import LONGEST_INTERVAL_S, ApplianceKind, DimmingMode


def validate_time_zone(name: str) -> None:
    """Refuse what is not an IANA time zone."""
    if name not in zoneinfo.available_timezones():
        raise ValidationError(
            _("“%(name)s” is not an IANA time zone, such as Europe/Berlin."),
            params={"name": name},
            code="time_zone",
        )


class OfSystemQuerySet(ScopedQuerySet):
    """Rows that belong to an account through their system."""

    account_path = "system__account__path"
    # Lookup from the row to its system.
    system_path = "system"

    def assigned_to(self, user) -> Self:
        assigned = SystemAssignment.objects.filter(user=user).values("system")
        return self.filter(**{f"{self.system_path}__in": assigned})


class SystemQuerySet(OfSystemQuerySet):
    account_path = "account__path"
    system_path = "pk"


class System(Identified):
    """A physical site: a household, an office, or a collection of charging stations."""

    key = models.IntegerField(
        unique=True, editable=False, db_default=NextKey("inventory_system_key")
    )
    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, related_name="systems", verbose_name=_("account")
    )
    name = models.CharField(_("name"), max_length=200)
    time_zone = models.CharField(
        _("time zone"), max_length=64, default="Europe/Berlin", validators=[validate_time_zone]
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
    dimming_mode = models.CharField(
        _("dimming"),
        max_length=8,
        default=DimmingMode.DIRECT.value,
        choices=[
            (DimmingMode.DIRECT.value, _("each controllable consumer by itself")),
            (DimmingMode.EMS.value, _("one sum for all of them (energy management)")),
        ],
        help_text=_("What was agreed with the grid operator (§ 14a EnWG)."),
    )
    latitude = models.FloatField(
        _("latitude"),
        null=True,
        blank=True,
        validators=[MinValueValidator(-90), MaxValueValidator(90)],
    )
    longitude = models.FloatField(
        _("longitude"),
        null=True,
        blank=True,
        validators=[MinValueValidator(-180), MaxValueValidator(180)],
    )

    objects = SystemQuerySet.as_manager()

    class Meta:
        verbose_name = _("system")
        verbose_name_plural = _("systems")
        # The order of long lists, so that a page of a hundred thousand needs no sorting.
        indexes = [models.Index(fields=["name", "id"], name="system_name")]

    def __str__(self) -> str:
        return self.name

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        return zoneinfo.ZoneInfo(self.time_zone)


class SystemAssignment(models.Model):
    """A system that a grid operator looks after."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(
        User, on_delete=models.CASCADE, related_name="+", verbose_name=_("grid operator")
    )
    system = models.ForeignKey(
        System, on_delete=models.CASCADE, related_name="assignments", verbose_name=_("system")
    )

    class Meta:
        verbose_name = _("assignment to a grid operator")
        verbose_name_plural = _("assignments to grid operators")
        constraints = [models.UniqueConstraint(fields=["user", "system"], name="assignment_unique")]

    def __str__(self) -> str:
        return f"{self.user} – {self.system}"


class Gateway(Identified):
    """The box at the site: it manages the appliances and holds the connection.

    Its secret is kept only as a SHA-256 digest (32 random bytes need no slow hash); an empty
    digest lets nobody in. `here_since`: when it was registered, where the box was at another system
    before; else None, for a box may read before it is registered for the first time.
    """

    system = models.OneToOneField(
        System, on_delete=models.PROTECT, related_name="gateway", verbose_name=_("system")
    )
    serial = models.CharField(
        _("serial number"),
        max_length=64,
        unique=True,
        validators=[
            RegexValidator(r"^[A-Z0-9-]{3,64}$", _("3 to 64 of: capital letters, digits, hyphens."))
        ],
    )
    name = models.CharField(_("name"), max_length=200, blank=True)
    manufacturer = models.CharField(_("manufacturer"), max_length=100, blank=True)
    model = models.CharField(_("model"), max_length=100, blank=True)
    firmware = models.CharField(_("firmware"), max_length=100, blank=True)
    secret_digest = models.CharField(max_length=64, editable=False, default="")
    secret_rotated_at = models.DateTimeField(_("secret made"), null=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True, editable=False)
    paused_until = models.DateTimeField(_("paused until"), null=True, editable=False)
    registered_at = models.DateTimeField(_("registered"), default=timezone.now, editable=False)
    here_since = models.DateTimeField(_("at this system since"), null=True, editable=False)
    # As it, or its last will, said last; None: never, as some only send readings.
    online = models.BooleanField(_("online"), null=True, editable=False)
    contacted_at = models.DateTimeField(_("last contact"), null=True, editable=False)
    clock_offset_s = models.FloatField(_("clock offset"), null=True, editable=False)
    last_sequence = models.BigIntegerField(_("last sequence number"), null=True, editable=False)
    missing_messages = models.BigIntegerField(_("missing messages"), default=0, editable=False)
    refused_readings = models.BigIntegerField(_("refused readings"), default=0, editable=False)

    objects = OfSystemQuerySet.as_manager()

    class Meta:
        verbose_name = _("gateway")
        verbose_name_plural = _("gateways")
        constraints = [
            models.CheckConstraint(
                name="gateway_serial_form", condition=Q(serial__regex=r"^[A-Z0-9-]{3,64}$")
            ),
        ]

    def __str__(self) -> str:
        return self.serial


class FormerGateway(models.Model):
    """Where the box of a gateway was that was deleted; it may be registered anew elsewhere.

    The database itself writes it, for good, and reads it (migration `0007_former_gateways`).
    """

    pk = models.CompositePrimaryKey("serial", "system_key")
    serial = models.CharField(max_length=64)
    system_key = models.IntegerField()

    class Meta:
        verbose_name = _("former gateway")
        verbose_name_plural = _("former gateways")

    def __str__(self) -> str:
        return self.serial


class GatewayFaultQuerySet(OfSystemQuerySet):
    account_path = "gateway__system__account__path"
    system_path = "gateway__system"


class GatewayFault(models.Model):
    """A message, or a part of one, that was refused: kept for 7 days for support.

    `at` is the last time that it happened, `since` the first; None where it happened once.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    gateway = models.ForeignKey(
        Gateway, on_delete=models.CASCADE, related_name="faults", verbose_name=_("gateway")
    )
    at = models.DateTimeField(_("at"), db_index=True)
    since = models.DateTimeField(_("since"), null=True)
    topic = models.CharField(_("topic"), max_length=20)
    reason = models.CharField(_("reason"), max_length=40)
    detail = models.TextField(_("detail"), blank=True)
    count = models.PositiveIntegerField(_("how many"), default=1)
    body = models.BinaryField(_("body"), blank=True, default=bytes)

    objects = GatewayFaultQuerySet.as_manager()

    class Meta:
        verbose_name = _("refused message")
        verbose_name_plural = _("refused messages")

    def __str__(self) -> str:
        return f"{self.topic}: {self.reason}"


class Cluster(Identified):
    """A group of appliances of one system. Clusters nest."""

    key = models.IntegerField(
        unique=True, editable=False, db_default=NextKey("inventory_cluster_key")
    )
    system = models.ForeignKey(
        System, on_delete=models.PROTECT, related_name="clusters", verbose_name=_("system")
    )
    parent = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="children",
        verbose_name=_("parent"),
    )
    name = models.CharField(_("name"), max_length=200)

    objects = OfSystemQuerySet.as_manager()

    class Meta:
        verbose_name = _("cluster")
        verbose_name_plural = _("clusters")
        constraints = [
            # What the composite foreign keys of migration 0002 point at.
            models.UniqueConstraint(fields=["id", "system"], name="cluster_of_system"),
            models.CheckConstraint(
                name="cluster_not_own_parent",
                condition=Q(parent__isnull=True) | ~Q(parent=F("id")),
                violation_error_message=_("A cluster cannot be its own parent."),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """Its system's."""
        return self.system.zone


class Appliance(Identified):
    """A device that produces or consumes energy and can be monitored or controlled.

    Powers in W in the passive sign convention: positive flows into the appliance. A limit that
    nobody stated is None, never 0.
    """

    class Status(models.TextChoices):
        OK = "OK", _("in order")
        WARNING = "WARNING", _("warning")
        ERROR = "ERROR", _("error")
        UNDEFINED = "UNDEFINED", _("unknown")

    key = models.IntegerField(
        unique=True, editable=False, db_default=NextKey("inventory_appliance_key")
    )
    system = models.ForeignKey(
        System, on_delete=models.PROTECT, related_name="appliances", verbose_name=_("system")
    )
    gateway = models.ForeignKey(
        Gateway,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="appliances",
        verbose_name=_("gateway"),
    )
    cluster = models.ForeignKey(
        Cluster,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="appliances",
        verbose_name=_("cluster"),
    )
    parent = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="children",
        verbose_name=_("part of"),
    )
    local_id = models.CharField(_("local id"), max_length=100, blank=True)
    kind = models.CharField(
        _("kind"),
        max_length=24,
        choices=[
            (ApplianceKind.GRID_METER.value, _("Grid meter")),
            (ApplianceKind.HOUSEHOLD_METER.value, _("Household meter")),
            (ApplianceKind.METER.value, _("Meter")),
            (ApplianceKind.PV_INVERTER.value, _("Solar inverter")),
            (ApplianceKind.BATTERY.value, _("Battery")),
            (ApplianceKind.HYBRID_INVERTER.value, _("Hybrid inverter")),
            (ApplianceKind.EV_CHARGING_STATION.value, _("Charging station")),
            (ApplianceKind.HEAT_PUMP.value, _("Heat pump")),
            (ApplianceKind.HEATER.value, _("Heater")),
        ],
    )
    # As its gateway tells, whatever staff corrected; empty where it never told.
    told_kind = models.CharField(max_length=24, editable=False, default="")
    name = models.CharField(_("name"), max_length=200)
    room = models.CharField(_("room"), max_length=100, blank=True)
    manufacturer = models.CharField(_("manufacturer"), max_length=100, blank=True)
    model = models.CharField(_("model"), max_length=100, blank=True)
    serial_number = models.CharField(_("serial number"), max_length=100, blank=True)
    firmware = models.CharField(_("firmware"), max_length=100, blank=True)
    protocol = models.CharField(_("protocol"), max_length=20, blank=True)
    min_power_w = models.FloatField(_("least power"), null=True, blank=True, help_text="W")
    max_power_w = models.FloatField(_("greatest power"), null=True, blank=True, help_text="W")
    max_current_a = models.FloatField(_("greatest current"), null=True, blank=True, help_text="A")
    capacity_wh = models.FloatField(_("capacity"), null=True, blank=True, help_text="Wh")
    interval_s = models.PositiveIntegerField(
        _("interval of readings"),
        default=60,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_INTERVAL_S)],
        help_text="s",
    )
    status = models.CharField(_("status"), max_length=10, choices=Status, default=Status.UNDEFINED)
    removed_at = models.DateTimeField(_("removed"), null=True, blank=True)

    objects = OfSystemQuerySet.as_manager()

    class Meta:
        verbose_name = _("appliance")
        verbose_name_plural = _("appliances")
        indexes = [models.Index(fields=["name", "id"], name="appliance_name")]
        constraints = [
            models.UniqueConstraint(fields=["id", "system"], name="appliance_of_system"),
            models.UniqueConstraint(
                fields=["gateway", "local_id"],
                condition=~Q(local_id=""),
                name="appliance_local_id_unique",
                violation_error_message=_("This gateway has an appliance with this local id."),
            ),
            models.CheckConstraint(
                name="appliance_power_order",
                condition=Q(min_power_w__isnull=True)
                | Q(max_power_w__isnull=True)
                | Q(min_power_w__lte=F("max_power_w")),
                violation_error_message=_("The least power is above the greatest."),
            ),
            models.CheckConstraint(
                name="appliance_interval_range",
                condition=Q(interval_s__gte=1, interval_s__lte=LONGEST_INTERVAL_S),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """Its system's."""
        return self.system.zone


class SystemPool(Identified):
    """A collection of systems: a community or a virtual power plant."""

    class Kind(models.TextChoices):
        COMMUNITY = "COMMUNITY", _("Community")
        VIRTUAL_POWER_PLANT = "VIRTUAL_POWER_PLANT", _("Virtual power plant")

    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, related_name="pools", verbose_name=_("account")
    )
    name = models.CharField(_("name"), max_length=200)
    kind = models.CharField(_("kind"), max_length=20, choices=Kind, default=Kind.COMMUNITY)
    time_zone = models.CharField(
        _("time zone"), max_length=64, default="Europe/Berlin", validators=[validate_time_zone]
    )
    systems = models.ManyToManyField(
        System, related_name="pools", blank=True, verbose_name=_("systems")
    )

    objects = ScopedQuerySet.as_manager()

    class Meta:
        verbose_name = _("system pool")
        verbose_name_plural = _("system pools")

    def __str__(self) -> str:
        return self.name

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        return zoneinfo.ZoneInfo(self.time_zone)
