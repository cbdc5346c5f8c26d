from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("flexibility", "0009_states_by_policy")]

    operations = [
        migrations.RemoveConstraint("constraint", "constraint_one_policy"),
        migrations.AddField(
            "constraint",
            "fallback",
            models.BooleanField(
                default=False, editable=False, verbose_name="if it is not asked again"
            ),
        ),
        migrations.AddConstraint(
            "constraint",
            models.UniqueConstraint(
                fields=["policy", "appliance", "fallback"],
                condition=models.Q(policy__isnull=False, withdrawn_at__isnull=True),
                name="constraint_one_wish_a_policy",
            ),
        ),
    ]
