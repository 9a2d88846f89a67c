"""The table of contents of the portal."""

from django.contrib import admin
from django.urls import include, path

from centre import home

urlpatterns = [
    path("", home.front, name="front"),
    path("health/", home.health, name="health"),
    path("signed-in/", home.after_sign_in, name="after_sign_in"),
    path("accounts/", include("allauth.account.urls")),
    path("i18n/", include("django.conf.urls.i18n")),
    path("admin/", admin.site.urls),
]
