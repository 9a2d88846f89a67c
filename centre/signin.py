"""How people sign in: by e-mail address and password, through allauth; accounts are made by the centre only."""

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest
from django.urls import reverse

from centre.emails import absolute


class Adapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth carries no types
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Nobody registers themselves: the centre or a project's lead adds a person."""
        return False

    def get_reset_password_from_key_url(self, key: str) -> str:
        """The link of a password letter, at the portal's own address, whatever host the request named."""
        uid, _hyphen, token = key.partition("-")
        return absolute(reverse("account_reset_password_from_key", kwargs={"uidb36": uid, "key": token}))
