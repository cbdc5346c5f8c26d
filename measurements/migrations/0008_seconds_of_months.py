"""Gives the seconds of a system's month 64 bits: 802 appliances have more of them than 32 hold."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("measurements", "0007_hours_until_removal")]

    operations = [
        migrations.AlterField("systemmonth", name, models.BigIntegerField())
        for name in ("seen_s", "expected_s")
    ]
