"""Who withdrew a spreadsheet upload, and when."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [
        ("allocations", "0010_suspended_and_ended_early"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="onboardingupload",
            name="withdrawn_at",
            field=models.DateTimeField(
                blank=True,
                help_text="From then on nothing more of it can be applied.",
                null=True,
                verbose_name="withdrawn at",
            ),
        ),
        migrations.AddField(
            model_name="onboardingupload",
            name="withdrawn_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
                verbose_name="withdrawn by",
            ),
        ),
        migrations.AddConstraint(
            model_name="onboardingupload",
            constraint=models.CheckConstraint(
                condition=Q(withdrawn_at__isnull=True, withdrawn_by__isnull=True)
                | Q(withdrawn_at__isnull=False, withdrawn_by__isnull=False),
                name="a_withdrawn_upload_says_by_whom",
            ),
        ),
    ]
