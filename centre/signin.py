"""How people sign in: by e-mail address and password, through allauth; accounts are made by the centre only."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context as allauth_context
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import override

from centre.emails import absolute, deliver
from centre.models import User


class Adapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth carries no types
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Nobody registers themselves: the centre or a project's lead adds a person."""
        return False

    def get_reset_password_from_key_url(self, key: str) -> str:
        """The link of a password letter, at the portal's own address, whatever host the request named."""
        uid, _hyphen, token = key.partition("-")
        return absolute(reverse("account_reset_password_from_key", kwargs={"uidb36": uid, "key": token}))

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send allauth's letters the way of all others: in the person's language, and on their record.

        A letter that cannot be sent is logged; the page that asked for it looks the same as for an unknown address.
        """
        about: dict[str, Any] = {"request": allauth_context.request, "email": email, **context}
        to = context.get("user") or User.objects.get(email=email)
        with override(to.language):
            message = self.render_mail(template_prefix, email, about)
        deliver([(to, message)], at=timezone.now())
