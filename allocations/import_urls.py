"""Where collectors hand over the usage of clusters."""

from django.urls import path

from allocations.importing import posts

urlpatterns = [
    path("", posts.hand_over_usage, name="hand_over_usage"),
    path("<int:pk>/", posts.handed_over_usage, name="handed_over_usage"),
]
