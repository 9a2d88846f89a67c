"""The pages of project teams."""

from django.urls import path

from allocations import ledger_pages, request_pages, run_pages, statement_pages, usage_pages, views

urlpatterns = [
    path("", views.projects, name="projects"),
    path("<slug:code>/", views.project, name="project"),
    path("<slug:code>/ledger/", ledger_pages.ledger, name="ledger"),
    path("<slug:code>/ledger.csv", ledger_pages.ledger_csv, name="ledger_csv"),
    path("<slug:code>/ledger/<int:pk>/", ledger_pages.ledger_entry, name="ledger_entry"),
    path("<slug:code>/requests/", request_pages.request_list, name="requests"),
    path("<slug:code>/requests/new/", request_pages.ask, name="ask"),
    path("<slug:code>/requests/<int:pk>/", request_pages.request_page, name="request"),
    path("<slug:code>/requests/<int:pk>/withdraw/", request_pages.withdraw_request, name="withdraw_request"),
    path("<slug:code>/runs/", run_pages.runs, name="runs"),
    path("<slug:code>/runs/<int:pk>/", run_pages.run, name="run"),
    path("<slug:code>/statements/", statement_pages.statements, name="statements"),
    path("<slug:code>/statements/<str:month>.csv", statement_pages.statement_csv, name="statement_csv"),
    path("<slug:code>/statements/<str:month>/", statement_pages.statement, name="statement"),
    path("<slug:code>/usage/", usage_pages.usage, name="usage"),
    path("<slug:code>/usage.csv", usage_pages.usage_csv, name="usage_csv"),
]
