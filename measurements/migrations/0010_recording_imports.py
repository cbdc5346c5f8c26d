import django.db.models.deletion
import uuid_utils.compat
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_language_unchosen"),
        ("inventory", "0006_dimming_mode"),
        ("measurements", "0009_marks_of_days"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="RecordingImport",
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
                ("created_at", models.DateTimeField(verbose_name="created")),
                ("changed_at", models.DateTimeField(verbose_name="changed")),
                ("file_name", models.CharField(max_length=200, verbose_name="file")),
                (
                    "stored_as",
                    models.CharField(blank=True, max_length=80, verbose_name="stored as"),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("chosen", "not begun"),
                            ("begun", "at work"),
                            ("done", "done"),
                            ("refused", "nothing stored"),
                            ("cancelled", "cancelled"),
                        ],
                        default="chosen",
                        max_length=12,
                        verbose_name="state",
                    ),
                ),
                ("layout", models.JSONField(null=True, verbose_name="layout")),
                (
                    "skip_bad",
                    models.BooleanField(default=False, verbose_name="bad lines are left out"),
                ),
                ("language", models.CharField(blank=True, max_length=5, verbose_name="language")),
                ("reason", models.TextField(blank=True, verbose_name="reason")),
                ("report", models.JSONField(null=True, verbose_name="report")),
                (
                    "by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="person",
                    ),
                ),
                (
                    "message",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="accounts.outboxmessage",
                        verbose_name="outgoing message",
                    ),
                ),
                (
                    "system",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="inventory.system",
                        verbose_name="system",
                    ),
                ),
            ],
            options={
                "verbose_name": "import of readings",
                "verbose_name_plural": "imports of readings",
                "indexes": [
                    models.Index(fields=["system", "-created_at"], name="import_of_system")
                ],
            },
        ),
    ]
