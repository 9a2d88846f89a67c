"""The admin pages of the centre's own objects; Django finds them by this module's name."""

from centre.admin import belonging, events, facility, people, tenants

__all__ = ["belonging", "events", "facility", "people", "tenants"]
