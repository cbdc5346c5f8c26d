import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("flexibility", "0008_limits_of_systems")]

    operations = [
        # A primary key of its own in place of the station: what it remembers is asked anew.
        migrations.DeleteModel("ChargingState"),
        migrations.CreateModel(
            name="ChargingState",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("asked_at", models.DateTimeField(verbose_name="asked")),
                ("memory", models.JSONField(default=dict)),
                ("reason", models.JSONField(default=dict)),
                ("from_wh", models.FloatField(null=True)),
                (
                    "appliance",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="inventory.appliance",
                    ),
                ),
                (
                    "policy",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="flexibility.chargingpolicy",
                    ),
                ),
            ],
            options={
                "verbose_name": "state of a charging station",
                "verbose_name_plural": "states of charging stations",
                "constraints": [
                    models.UniqueConstraint(
                        fields=["appliance", "policy"], name="charging_state_one_a_policy"
                    )
                ],
            },
        ),
    ]
