"""What the centre itself is made of: people, tenants with their projects, machines, and what was done to them."""

from centre.models.contacts import TenantContact
from centre.models.events import Event
from centre.models.facility import Capacity, Centre, Cluster, GpuPool, ListPrice, Outage, PoolMapping, Site, WhenUsedUp
from centre.models.invitations import Invitation, Letter
from centre.models.people import Appointment, User
from centre.models.tenants import ClusterUser, Membership, Project, Representative, Tenant

__all__ = [
    "Appointment",
    "Capacity",
    "Centre",
    "Cluster",
    "ClusterUser",
    "Event",
    "GpuPool",
    "Invitation",
    "Letter",
    "ListPrice",
    "Membership",
    "Outage",
    "PoolMapping",
    "Project",
    "Representative",
    "Site",
    "Tenant",
    "TenantContact",
    "User",
    "WhenUsedUp",
]
