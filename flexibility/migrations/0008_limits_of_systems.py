"""A shared limit may be of a whole system, for some members: that of a dimming to one sum."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("flexibility", "0007_bulk_actions"),
        ("inventory", "0006_dimming_mode"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="dimmingproof",
            name="dimming_proof_once",
        ),
        migrations.AddField(
            model_name="dimming",
            name="mode",
            field=models.CharField(
                choices=[
                    ("direct", "each controllable consumer by itself"),
                    ("ems", "one sum for all of them (energy management)"),
                ],
                default="direct",
                max_length=8,
                verbose_name="mode",
            ),
        ),
        migrations.AddField(
            model_name="dimming",
            name="terms",
            field=models.JSONField(null=True, verbose_name="how it comes about"),
        ),
        migrations.AddField(
            model_name="sharedlimit",
            name="dimming",
            field=models.ForeignKey(
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="flexibility.dimming",
                verbose_name="dimming",
            ),
        ),
        migrations.AddField(
            model_name="sharedlimit",
            name="members",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.UUIDField(), blank=True, default=list, size=None
            ),
        ),
        migrations.AddField(
            model_name="sharedlimit",
            name="net",
            field=models.BooleanField(default=False, verbose_name="own production adds"),
        ),
        migrations.AddField(
            model_name="sharedlimit",
            name="system",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="inventory.system",
                verbose_name="system",
            ),
        ),
        migrations.RunSQL(
            "UPDATE flexibility_sharedlimit SET system_id = inventory_cluster.system_id "
            "FROM inventory_cluster WHERE inventory_cluster.id = cluster_id",
            migrations.RunSQL.noop,
        ),
        # Deferred checks of what was just filled, before the table is altered.
        migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE", migrations.RunSQL.noop),
        migrations.AlterField(
            model_name="sharedlimit",
            name="system",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="inventory.system",
                verbose_name="system",
            ),
        ),
        migrations.AlterField(
            model_name="dimmingproof",
            name="appliance",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="inventory.appliance",
            ),
        ),
        migrations.AlterField(
            model_name="sharedlimit",
            name="cluster",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="inventory.cluster",
                verbose_name="cluster",
            ),
        ),
        migrations.AddConstraint(
            model_name="dimmingproof",
            constraint=models.UniqueConstraint(
                fields=("dimming", "appliance"), name="dimming_proof_once", nulls_distinct=False
            ),
        ),
    ]
