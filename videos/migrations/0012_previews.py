from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("videos", "0011_removal_indexes")]

    operations = [
        migrations.CreateModel(
            name="Preview",
            fields=[
                (
                    "job",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=models.deletion.CASCADE,
                        primary_key=True,
                        related_name="preview",
                        serialize=False,
                        to="videos.job",
                    ),
                ),
                ("due_at", models.DateTimeField(null=True)),
                ("tries", models.PositiveSmallIntegerField(default=0)),
                ("poster", models.FileField(blank=True, max_length=255, upload_to="")),
                ("spritesheet", models.FileField(blank=True, max_length=255, upload_to="")),
                ("animation", models.FileField(blank=True, max_length=255, upload_to="")),
                ("layout", models.JSONField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("due_at__isnull", False)), fields=["due_at"], name="preview_due"
                    )
                ],
            },
        ),
    ]
