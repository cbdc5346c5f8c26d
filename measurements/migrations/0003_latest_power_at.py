"""When the latest power was read: it may be older than the latest reading."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("measurements", "0002_reading_partitions")]

    operations = [
        migrations.AddField(
            model_name="latestreading",
            name="power_at",
            field=models.DateTimeField(null=True),
        ),
    ]
