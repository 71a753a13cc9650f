from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("videos", "0014_unstored_jobs")]

    operations = [
        migrations.AddField(
            model_name="preview",
            name="poster_webp",
            field=models.FileField(blank=True, db_default="", default="", max_length=255, upload_to=""),
        ),
    ]
