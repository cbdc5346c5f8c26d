from django.db import migrations, models
from django.db.models import F


def keep_when(apps, schema_editor) -> None:
    """The last comparison of a day that is repaired is the one that did so."""
    checks = apps.get_model("measurements", "DayCheck").objects
    checks.filter(repaired=True).update(repaired_at=F("checked_at"))


def keep_whether(apps, schema_editor) -> None:
    checks = apps.get_model("measurements", "DayCheck").objects
    checks.filter(repaired_at=F("checked_at")).update(repaired=True)


class Migration(migrations.Migration):
    dependencies = [
        ("measurements", "0011_unmetered_consumption"),
    ]

    operations = [
        migrations.AddField(
            model_name="daycheck",
            name="repaired_at",
            field=models.DateTimeField(null=True, verbose_name="repaired"),
        ),
        migrations.RunPython(keep_when, keep_whether),
        migrations.RemoveField(
            model_name="daycheck",
            name="repaired",
        ),
    ]
