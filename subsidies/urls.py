"""The scheme's part of the table of contents."""

from django.urls import path

from subsidies import views

urlpatterns = [
    path("projects/<slug:code>/subsidy/", views.project_subsidy, name="project_subsidy"),
]
