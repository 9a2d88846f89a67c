"""The admin pages of the centre's own objects; Django finds them by this module's name."""

from allauth.account.models import EmailAddress
from django.contrib import admin
from django.contrib.auth.models import Group
from django_tasks_db.models import DBTaskResult

from centre.admin import appointments, belonging, events, facility, letters, outages, people, pools, projects, tenants

__all__ = [
    "appointments",
    "belonging",
    "events",
    "facility",
    "letters",
    "outages",
    "people",
    "pools",
    "projects",
    "tenants",
]

# Nobody has groups here, a person's address is on the person's own page, and what waits for the background worker
# stands on the rows that it works on.
admin.site.unregister([Group, EmailAddress, DBTaskResult])
