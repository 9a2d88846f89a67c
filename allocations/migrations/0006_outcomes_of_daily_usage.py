"""Work out the daily rollup anew, now that it also tells how the runs ended."""

from django.db import migrations

OUTCOME = """
    CASE WHEN NOT run.finished THEN 'unfinished'
         WHEN run.state = 'COMPLETED' THEN 'completed'
         WHEN run.state IN ('FAILED', 'OUT_OF_MEMORY') THEN 'failed'
         WHEN run.state IN ('TIMEOUT', 'DEADLINE') THEN 'timed_out'
         WHEN run.state IN ('NODE_FAIL', 'BOOT_FAIL', 'PREEMPTED', 'REQUEUED', 'RESIZING') THEN 'interrupted'
         WHEN run.state = 'REVOKED' OR run.state = 'CANCELLED' OR SUBSTR(run.state, 1, 10) = 'CANCELLED ' THEN 'cancelled'
         ELSE 'other' END
"""
EMPTY = "DELETE FROM allocations_dailyusage"
WITH_OUTCOMES = f"""
    INSERT INTO allocations_dailyusage (allocation_id, day, user_name, outcome, seconds)
    SELECT charge.allocation_id, charge.day, run.user_name, {OUTCOME}, SUM(charge.seconds)
    FROM allocations_runcharge AS charge JOIN allocations_jobrun AS run ON run.id = charge.run_id
    GROUP BY 1, 2, 3, 4
"""  # noqa: S608  no text from outside
WITHOUT_OUTCOMES = """
    INSERT INTO allocations_dailyusage (allocation_id, day, user_name, outcome, seconds)
    SELECT charge.allocation_id, charge.day, run.user_name, 'other', SUM(charge.seconds)
    FROM allocations_runcharge AS charge JOIN allocations_jobrun AS run ON run.id = charge.run_id
    GROUP BY 1, 2, 3
"""


class Migration(migrations.Migration):
    dependencies = (("allocations", "0005_statements_and_outcomes"),)

    operations = (
        migrations.RunSQL(sql=[EMPTY, WITH_OUTCOMES], reverse_sql=[EMPTY, WITHOUT_OUTCOMES]),
    )
