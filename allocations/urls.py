"""The pages of project teams."""

from django.urls import path

from allocations import views

urlpatterns = [
    path("", views.projects, name="projects"),
    path("<slug:code>/", views.project, name="project"),
]
