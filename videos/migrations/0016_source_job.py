from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("videos", "0015_poster_webp")]

    operations = [
        migrations.AddField(
            model_name="job",
            name="operation",
            field=models.CharField(blank=True, db_default="", default="", max_length=10),
        ),
        migrations.AddField(
            model_name="job",
            name="source_job",
            field=models.UUIDField(null=True),
        ),
    ]
