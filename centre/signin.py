"""How people sign in: by e-mail address and password, through allauth; accounts are made by the centre only."""

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest


class Adapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth carries no types
    def is_open_for_signup(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Nobody registers themselves: the centre or a project's lead adds a person."""
        return False
