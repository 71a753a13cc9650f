from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("videos", "0009_uncounted_jobs")]

    operations = [
        migrations.AddField(
            model_name="job",
            name="sha256",
            field=models.CharField(blank=True, db_default="", default="", max_length=64),
        ),
        migrations.AddField(
            model_name="job",
            name="crc32",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="job",
            name="codec",
            field=models.CharField(blank=True, db_default="", default="", max_length=40),
        ),
        migrations.AddField(
            model_name="job",
            name="result_fps",
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name="job",
            name="result_audio",
            field=models.BooleanField(null=True),
        ),
        migrations.AddField(
            model_name="job",
            name="retain_for",
            field=models.IntegerField(null=True),
        ),
        migrations.AddField(
            model_name="job",
            name="remove_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="job",
            name="removed_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="job",
            name="on_hold",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
