"""Spreadsheets that officers hand over, what their lines would do, and who applied them."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("allocations", "0007_entry_of_day"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="OnboardingUpload",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uploaded_at", models.DateTimeField(verbose_name="uploaded at")),
                ("key", models.CharField(max_length=64, unique=True, verbose_name="key of the form")),
                ("looked_at", models.DateTimeField(verbose_name="compared with the books at")),
                (
                    "digest",
                    models.CharField(
                        help_text="Of what every line would do; applying names it.",
                        max_length=64,
                        verbose_name="SHA-256 of the preview",
                    ),
                ),
                (
                    "opening_seconds",
                    models.BigIntegerField(
                        default=0,
                        help_text="Of all new lines together.",
                        verbose_name="opening balances that are new (GPU-seconds)",
                    ),
                ),
                (
                    "uploaded_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="uploaded by",
                    ),
                ),
            ],
            options={
                "verbose_name": "spreadsheet upload",
                "verbose_name_plural": "spreadsheet uploads",
                "ordering": ("-id",),
            },
        ),
        migrations.CreateModel(
            name="OnboardingFile",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("tenants", "Tenants"),
                            ("projects", "Projects"),
                            ("members", "Members"),
                            ("allocations", "Allocations"),
                        ],
                        max_length=12,
                        verbose_name="holds",
                    ),
                ),
                ("name", models.CharField(max_length=200, verbose_name="file")),
                ("sha256", models.CharField(max_length=64, verbose_name="SHA-256 of the file")),
                ("size_bytes", models.BigIntegerField(verbose_name="size (bytes)")),
                ("content", models.BinaryField(verbose_name="content")),
                ("unused", models.JSONField(default=list, verbose_name="columns that are not used")),
                ("new", models.PositiveIntegerField(default=0, verbose_name="new")),
                ("changed", models.PositiveIntegerField(default=0, verbose_name="changed")),
                ("same", models.PositiveIntegerField(default=0, verbose_name="same")),
                ("wrong", models.PositiveIntegerField(default=0, verbose_name="wrong")),
                (
                    "upload",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="files",
                        to="allocations.onboardingupload",
                        verbose_name="upload",
                    ),
                ),
            ],
            options={
                "verbose_name": "file of an upload",
                "verbose_name_plural": "files of an upload",
                "ordering": ("id",),
            },
        ),
        migrations.CreateModel(
            name="OnboardingLine",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField(verbose_name="line")),
                ("what", models.TextField(verbose_name="what it is")),
                (
                    "verdict",
                    models.CharField(
                        choices=[("new", "New"), ("changed", "Changed"), ("same", "Same"), ("wrong", "Wrong")],
                        max_length=8,
                        verbose_name="verdict",
                    ),
                ),
                (
                    "changes",
                    models.JSONField(
                        default=list, help_text="[column, what stands, what the line says]", verbose_name="changes"
                    ),
                ),
                ("problem", models.TextField(blank=True, verbose_name="problem")),
                (
                    "file",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="lines",
                        to="allocations.onboardingfile",
                        verbose_name="file",
                    ),
                ),
            ],
            options={
                "verbose_name": "line of an upload",
                "verbose_name_plural": "lines of an upload",
                "ordering": ("file", "number"),
                "constraints": [
                    models.UniqueConstraint(fields=("file", "number"), name="an_uploaded_line_is_judged_once"),
                    models.CheckConstraint(
                        condition=models.Q(("verdict__in", ("new", "changed", "same", "wrong"))),
                        name="onboarding_verdict_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("verdict", "wrong"), models.Q(("problem", ""), _negated=True)),
                            models.Q(models.Q(("verdict", "wrong"), _negated=True), ("problem", "")),
                            _connector="OR",
                        ),
                        name="a_wrong_line_says_why",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="OnboardingStep",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "part",
                    models.CharField(
                        choices=[
                            ("teams", "Tenants, projects and members"),
                            ("hours", "Opening balances"),
                            ("all", "Everything"),
                        ],
                        max_length=8,
                        verbose_name="applied",
                    ),
                ),
                ("at", models.DateTimeField(verbose_name="applied at")),
                ("key", models.CharField(max_length=64, unique=True, verbose_name="key of the form")),
                ("new", models.PositiveIntegerField(verbose_name="new")),
                ("changed", models.PositiveIntegerField(verbose_name="changed")),
                ("left_out", models.PositiveIntegerField(verbose_name="wrong lines left out")),
                (
                    "by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="applied by",
                    ),
                ),
                (
                    "upload",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="steps",
                        to="allocations.onboardingupload",
                        verbose_name="upload",
                    ),
                ),
            ],
            options={
                "verbose_name": "applied upload",
                "verbose_name_plural": "applied uploads",
                "ordering": ("id",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("part__in", ("teams", "hours", "all"))), name="onboarding_part_is_known"
                    )
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="onboardingfile",
            constraint=models.UniqueConstraint(fields=("upload", "kind"), name="an_upload_has_one_file_of_a_kind"),
        ),
        migrations.AddConstraint(
            model_name="onboardingfile",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ("tenants", "projects", "members", "allocations"))),
                name="onboarding_file_kind_is_known",
            ),
        ),
    ]
