"""A language that nobody chose for somebody is none, and no longer English."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_invariants")]

    operations = [
        migrations.AlterField(
            model_name="user",
            name="language",
            field=models.CharField(
                blank=True,
                choices=[("", "The browser's language"), ("en", "English"), ("de", "Deutsch")],
                default="",
                max_length=5,
                verbose_name="language",
            ),
        ),
    ]
