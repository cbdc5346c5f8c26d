"""Whether a gateway is there is not known of one that never said so.

Until now those were taken for offline. Which of the offline ones they are nobody knows: of each it
is told when it was heard last, until it says something.
"""

from django.db import migrations, models


def take_none_for_offline(apps, _schema_editor) -> None:
    apps.get_model("inventory", "Gateway").objects.filter(online=False).update(online=None)


def take_all_for_offline(apps, _schema_editor) -> None:
    apps.get_model("inventory", "Gateway").objects.filter(online=None).update(online=False)


class Migration(migrations.Migration):
    dependencies = [
        ("inventory", "0009_told_kind"),
    ]

    operations = [
        migrations.AlterField(
            model_name="gateway",
            name="online",
            field=models.BooleanField(editable=False, null=True, verbose_name="online"),
        ),
        migrations.RunPython(take_none_for_offline, take_all_for_offline),
    ]
