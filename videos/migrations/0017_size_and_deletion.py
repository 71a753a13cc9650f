from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("videos", "0016_source_job")]

    operations = [
        migrations.AddField(
            model_name="job",
            name="size",
            field=models.CharField(blank=True, db_default="", default="", max_length=11),
        ),
        migrations.AddField(
            model_name="job",
            name="deleted_at",
            field=models.DateTimeField(null=True),
        ),
    ]
