import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
import uuid_utils.compat
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("flexibility", "0002_marks"),
        ("inventory", "0005_gateway_pause"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Share",
            fields=[
                (
                    "constraint",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="share",
                        serialize=False,
                        to="flexibility.constraint",
                    ),
                ),
                ("paused_since", models.DateTimeField(null=True, verbose_name="paused since")),
                ("running_since", models.DateTimeField(null=True, verbose_name="running since")),
                (
                    "asks_since",
                    models.DateTimeField(null=True, verbose_name="asks for power since"),
                ),
                (
                    "wide_min_w",
                    models.FloatField(null=True, verbose_name="least power that may be kept to"),
                ),
                (
                    "wide_max_w",
                    models.FloatField(null=True, verbose_name="greatest power that may be kept to"),
                ),
                (
                    "unconfirmed_since",
                    models.DateTimeField(null=True, verbose_name="unconfirmed since"),
                ),
                ("why_min", models.CharField(max_length=16, verbose_name="reason of the least")),
                ("why_max", models.CharField(max_length=16, verbose_name="reason of the greatest")),
            ],
            options={
                "verbose_name": "share of a limit",
                "verbose_name_plural": "shares of limits",
            },
        ),
        migrations.CreateModel(
            name="SharedLimit",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid_utils.compat.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        default=django.utils.timezone.now, editable=False, verbose_name="created"
                    ),
                ),
                (
                    "kinds",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=24),
                        blank=True,
                        default=list,
                        size=None,
                    ),
                ),
                ("priority", models.IntegerField(verbose_name="priority")),
                ("min_w", models.FloatField(help_text="W", null=True, verbose_name="least power")),
                (
                    "max_w",
                    models.FloatField(help_text="W", null=True, verbose_name="greatest power"),
                ),
                (
                    "phase_max_w",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.FloatField(),
                        null=True,
                        size=3,
                        verbose_name="greatest power by phase",
                    ),
                ),
                (
                    "strategy",
                    models.CharField(
                        choices=[
                            ("equally", "equally"),
                            ("proportional", "by the greatest power of each"),
                            ("first_come_first_serve", "first come, first served"),
                            ("series", "one after the other"),
                        ],
                        default="equally",
                        max_length=24,
                        verbose_name="strategy",
                    ),
                ),
                (
                    "order",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.UUIDField(), blank=True, default=list, size=None
                    ),
                ),
                (
                    "dynamic",
                    models.BooleanField(default=False, verbose_name="of the grid connection"),
                ),
                ("valid_at", models.DateTimeField(verbose_name="valid from")),
                ("invalid_at", models.DateTimeField(null=True, verbose_name="valid until")),
                (
                    "emitter_kind",
                    models.CharField(
                        choices=[
                            ("driver", "the appliance itself"),
                            ("fuse", "a fuse"),
                            ("grid_operator", "the grid operator"),
                            ("operator", "staff"),
                            ("account_user", "the fleet manager"),
                            ("cluster_limit", "a shared limit"),
                            ("local_user", "the resident"),
                            ("charging_policy", "a charging policy"),
                        ],
                        max_length=16,
                        verbose_name="set by",
                    ),
                ),
                ("withdrawn_at", models.DateTimeField(null=True, verbose_name="withdrawn")),
                ("due_at", models.DateTimeField(verbose_name="due")),
                ("balanced_at", models.DateTimeField(null=True, verbose_name="divided")),
                ("tallies", models.JSONField(default=list, verbose_name="found")),
                (
                    "cluster",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="inventory.cluster",
                        verbose_name="cluster",
                    ),
                ),
                (
                    "emitter",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="person",
                    ),
                ),
                (
                    "withdrawn_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="withdrawn by",
                    ),
                ),
            ],
            options={
                "verbose_name": "shared limit",
                "verbose_name_plural": "shared limits",
            },
        ),
        migrations.AddField(
            model_name="constraint",
            name="limit",
            field=models.ForeignKey(
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="flexibility.sharedlimit",
                verbose_name="shared limit",
            ),
        ),
        migrations.AddConstraint(
            model_name="constraint",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("appliance__isnull", False),
                        ("emitter_kind", "cluster_limit"),
                        ("limit__isnull", False),
                    ),
                    models.Q(
                        models.Q(("emitter_kind", "cluster_limit"), _negated=True),
                        ("limit__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="constraint_share_of_limit",
            ),
        ),
        migrations.AddConstraint(
            model_name="constraint",
            constraint=models.UniqueConstraint(
                fields=("limit", "appliance"), name="constraint_one_share"
            ),
        ),
        migrations.AddIndex(
            model_name="sharedlimit",
            index=models.Index(
                condition=models.Q(("withdrawn_at__isnull", True)),
                fields=["due_at"],
                name="limit_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="sharedlimit",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("min_w__isnull", False),
                    ("max_w__isnull", False),
                    ("phase_max_w__isnull", False),
                    _connector="OR",
                ),
                name="limit_says_something",
            ),
        ),
        migrations.AddConstraint(
            model_name="sharedlimit",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("min_w__isnull", True), ("min_w__lte", 0), _connector="OR"),
                    models.Q(("max_w__isnull", True), ("max_w__gte", 0), _connector="OR"),
                ),
                name="limit_leaves_zero",
            ),
        ),
        migrations.AddConstraint(
            model_name="sharedlimit",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("emitter_kind", "fuse"), ("invalid_at__isnull", True)),
                    ("valid_at__lt", models.F("invalid_at")),
                    _connector="OR",
                ),
                name="limit_validity",
            ),
        ),
        migrations.AddConstraint(
            model_name="sharedlimit",
            constraint=models.CheckConstraint(
                condition=models.Q(("priority__gte", 0), ("priority__lt", 2147483647)),
                name="limit_is_not_physical",
            ),
        ),
    ]
