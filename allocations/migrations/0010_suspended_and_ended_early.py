"""When and why an allocation was suspended, and requests that end a period early."""

from django.db import migrations, models
from django.db.models import Q

KINDS = (
    *("opening", "top_up", "take_back", "refund", "reversal", "extension", "early_end"),
    *("transfer", "members", "other"),
)


class Migration(migrations.Migration):
    dependencies = (("allocations", "0009_indexes_of_long_lists"),)

    operations = (
        migrations.AddField(
            model_name="allocation",
            name="suspended_at",
            field=models.DateTimeField(blank=True, editable=False, null=True, verbose_name="suspended at"),
        ),
        migrations.AddField(
            model_name="allocation",
            name="suspended_because",
            field=models.CharField(
                blank=True,
                default="",
                editable=False,
                help_text="The team reads it.",
                max_length=500,
                verbose_name="suspended because",
            ),
            preserve_default=False,
        ),
        migrations.AddConstraint(
            model_name="allocation",
            constraint=models.CheckConstraint(
                condition=Q(suspended_at__isnull=True, suspended_because="")
                | (Q(suspended_at__isnull=False) & ~Q(suspended_because="")),
                name="allocation_says_when_and_why_it_was_suspended",
            ),
        ),
        migrations.RemoveConstraint(model_name="changerequest", name="request_kind_is_known"),
        migrations.AddConstraint(
            model_name="changerequest",
            constraint=models.CheckConstraint(condition=Q(kind__in=KINDS), name="request_kind_is_known"),
        ),
        migrations.AlterField(
            model_name="changerequest",
            name="kind",
            field=models.CharField(
                choices=[
                    ("opening", "GPU-hours of a new allocation"),
                    ("top_up", "More GPU-hours"),
                    ("take_back", "Take unused GPU-hours back"),
                    ("refund", "Refund job runs"),
                    ("reversal", "Reverse a ledger entry"),
                    ("extension", "A longer period"),
                    ("early_end", "An earlier end of the period"),
                    ("transfer", "Move GPU-hours to another allocation"),
                    ("members", "More members"),
                    ("other", "Something else"),
                ],
                max_length=12,
                verbose_name="kind",
            ),
        ),
    )
