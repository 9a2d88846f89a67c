"""The page about letters."""

from django.urls import path

from allocations import notice_pages

urlpatterns = [path("", notice_pages.notices, name="notices")]
