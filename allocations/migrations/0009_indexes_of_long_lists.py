"""Indexes by which staff find job runs by user or number, and the few ledger entries that are no charges."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = (("allocations", "0008_onboarding_uploads"),)

    operations = (
        migrations.AddIndex(model_name="jobrun", index=models.Index(fields=["user_name", "-id"], name="run_of_user")),
        migrations.AddIndex(model_name="jobrun", index=models.Index(fields=["job_id"], name="run_by_job")),
        migrations.AddIndex(
            model_name="ledgerentry",
            index=models.Index(condition=~Q(kind="charge"), fields=["kind", "-id"], name="entry_of_rare_kind"),
        ),
    )
