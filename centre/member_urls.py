"""The team of a project: who belongs to it, and the acts of its leads and managers."""

from django.urls import path

from centre import inviting_pages, member_pages

urlpatterns = [
    path("", member_pages.member_list, name="members"),
    path("history/", member_pages.member_history, name="member_history"),
    path("<int:pk>/role/", member_pages.change_role, name="change_member_role"),
    path("<int:pk>/remove/", member_pages.remove_member, name="remove_member"),
    path("user-names/", member_pages.name_user, name="name_cluster_user"),
    path("invite/", inviting_pages.invite, name="invite_member"),
    path("invitations/<int:pk>/again/", inviting_pages.send_again, name="send_invitation_again"),
    path("invitations/<int:pk>/withdraw/", inviting_pages.withdraw, name="withdraw_invitation"),
]
