"""The scheme's part of the table of contents."""

from django.urls import path

from subsidies import capacity_pages, views

urlpatterns = [
    path("desk/capacity/", capacity_pages.capacity, name="capacity"),
    path("desk/capacity.csv", capacity_pages.capacity_csv, name="capacity_csv"),
    path("projects/<slug:code>/subsidy/", views.project_subsidy, name="project_subsidy"),
]
