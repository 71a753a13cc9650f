from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_first_release")]

    operations = [
        migrations.AddField(
            model_name="reservation",
            name="counting",
            field=models.CharField(
                choices=[("new", "New"), ("counted", "Counted"), ("ended", "Ended")],
                db_default="counted",
                default="new",
                max_length=7,
            ),
        ),
    ]
