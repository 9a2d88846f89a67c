"""The admin pages of the centre's own objects; Django finds them by this module's name."""

from allauth.account.models import EmailAddress
from django.contrib import admin
from django.contrib.auth.models import Group

from centre.admin import appointments, belonging, events, facility, people, tenants

__all__ = ["appointments", "belonging", "events", "facility", "people", "tenants"]

# Nobody has groups here, and a person's address is on the person's own page.
admin.site.unregister([Group, EmailAddress])
