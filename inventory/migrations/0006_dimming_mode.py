"""How a system is dimmed by its grid operator."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("inventory", "0005_gateway_pause"),
    ]

    operations = [
        migrations.AddField(
            model_name="system",
            name="dimming_mode",
            field=models.CharField(
                choices=[
                    ("direct", "each controllable consumer by itself"),
                    ("ems", "one sum for all of them (energy management)"),
                ],
                default="direct",
                help_text="What was agreed with the grid operator (§ 14a EnWG).",
                max_length=8,
                verbose_name="dimming",
            ),
        ),
    ]
