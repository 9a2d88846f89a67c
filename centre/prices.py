"""The list price of a day, asked inside another query."""

from datetime import date

from django.db.models import OuterRef, Subquery

from centre.models import ListPrice


def price_on(pool: OuterRef, day: OuterRef | date) -> Subquery:
    """In SQL: cents per GPU-hour of a pool on a day; NULL before its first price."""
    prices = ListPrice.objects.filter(pool=pool, from_on__lte=day).order_by("-from_on")
    return Subquery(prices.values("cents_per_gpu_hour")[:1])
