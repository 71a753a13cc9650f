from django.core import validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_indexes")]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="retain_for",
            field=models.PositiveIntegerField(
                blank=True,
                null=True,
                validators=[
                    validators.MinValueValidator(60),
                    validators.MaxValueValidator(315_360_000),
                ],
            ),
        ),
    ]
