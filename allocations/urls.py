"""The pages of project teams."""

from django.urls import path

from allocations import ledger_pages, views

urlpatterns = [
    path("", views.projects, name="projects"),
    path("<slug:code>/", views.project, name="project"),
    path("<slug:code>/ledger/", ledger_pages.ledger, name="ledger"),
    path("<slug:code>/ledger.csv", ledger_pages.ledger_csv, name="ledger_csv"),
    path("<slug:code>/ledger/<int:pk>/", ledger_pages.ledger_entry, name="ledger_entry"),
]
