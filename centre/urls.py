"""The table of contents of the portal."""

from allauth.account import views as account
from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.urls import include, path, re_path
from django.views.i18n import set_language

from allocations import tenant_pages
from allocations.importing import posts
from centre import home, invitation_pages, report_pages

urlpatterns = [
    path("", home.front, name="front"),
    path("health/", home.health, name="health"),
    path("signed-in/", home.after_sign_in, name="after_sign_in"),
    path("language/", login_not_required(set_language), name="set_language"),
    # Signing in: what this portal uses of allauth. Nobody registers themselves, so there is no way to sign up.
    path("accounts/login/", account.login, name="account_login"),
    path("accounts/logout/", account.logout, name="account_logout"),
    path("accounts/inactive/", account.account_inactive, name="account_inactive"),
    path("accounts/password/change/", account.password_change, name="account_change_password"),
    path("accounts/password/set/", account.password_set, name="account_set_password"),
    path("accounts/password/reset/", account.password_reset, name="account_reset_password"),
    path("accounts/password/reset/done/", account.password_reset_done, name="account_reset_password_done"),
    re_path(
        r"^accounts/password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        account.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path(
        "accounts/password/reset/key/done/",
        account.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    path("desk/", home.desk, name="desk"),
    path("projects/<slug:code>/members/", include("centre.member_urls")),
    path("projects/", include("allocations.urls")),
    path("invitations/<str:token>/", invitation_pages.invitation, name="invitation"),
    path("tenants/<slug:tenant>/", tenant_pages.tenant, name="tenant"),
    path("notices/", include("allocations.notice_urls")),
    # For the collectors of clusters, by token. curl adds the file's name to an address that ends in a slash.
    re_path(r"^usage/imports/?$", posts.hand_over_usage, name="hand_over_usage"),
    path("usage/imports/<int:pk>/", posts.handed_over_usage, name="handed_over_usage"),
    path("", include("subsidies.urls")),
    path("reports/", report_pages.reports, name="reports"),
    path("reports/<slug:name>/", report_pages.report, name="report"),
    path("reports/<slug:name>.csv", report_pages.report_csv, name="report_csv"),
    path("admin/", admin.site.urls),
]
