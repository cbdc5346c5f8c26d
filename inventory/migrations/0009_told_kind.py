"""The kind that a gateway tells, apart from what staff corrected it to.

Where it tells another one later, there is another device.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("inventory", "0008_gateway_stays"),
    ]

    operations = [
        migrations.AddField(
            model_name="appliance",
            name="told_kind",
            field=models.CharField(default="", editable=False, max_length=24),
        ),
    ]
