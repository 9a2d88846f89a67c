"""An index by which statements and ledgers find the entries of an allocation by the day that they are about."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("allocations", "0006_outcomes_of_daily_usage"),)

    operations = (
        migrations.AddIndex(
            model_name="ledgerentry",
            index=models.Index(fields=["allocation", "effective_on"], name="entry_of_day"),
        ),
    )
