import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_indexes"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("videos", "0007_list_indexes"),
    ]

    operations = [
        migrations.CreateModel(
            name="UsageCount",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("day", models.DateField()),
                (
                    "api_key",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="accounts.apikey",
                    ),
                ),
                ("model", models.CharField(blank=True, max_length=100)),
                ("status", models.CharField(max_length=10)),
                ("jobs", models.BigIntegerField()),
                ("settled", models.DecimalField(decimal_places=4, max_digits=16)),
            ],
            options={"indexes": [models.Index(fields=["owner", "day"], name="usage_owner_day")]},
        ),
        migrations.AddField(
            model_name="job",
            name="counted",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
