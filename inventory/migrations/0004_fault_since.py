"""Since when a refused message has been coming again and again."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inventory", "0003_name_indexes")]

    operations = [
        migrations.AddField(
            model_name="gatewayfault",
            name="since",
            field=models.DateTimeField(null=True, verbose_name="since"),
        ),
    ]
