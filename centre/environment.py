"""Environment variables that are read strictly: a value that cannot be read stops the start with its name."""

from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

YES = frozenset(("true", "1", "yes", "on"))
NO = frozenset(("false", "0", "no", "off"))


class Environment(environ.Env):  # type: ignore[misc]  # the package carries no types
    """The environment; an empty variable is one that is not set."""

    def yes_or_no(self, var: str, *, default: bool) -> bool:
        """Yes or no. Raises ImproperlyConfigured for any other word."""
        text = str(self.str(var, default="")).strip().lower()
        if not text:
            return default
        if text not in YES | NO:
            raise ImproperlyConfigured(f"{var} is “{text}”; write true or false (or yes, no, on, off, 1, 0).")
        return text in YES

    def whole(self, var: str, *, default: int) -> int:
        """A whole number, not negative. Raises ImproperlyConfigured for anything else."""
        text = str(self.str(var, default="")).strip()
        if not text:
            return default
        if not (text.isascii() and text.isdecimal() and len(text) <= 9):
            raise ImproperlyConfigured(f"{var} is “{text}”; write a whole number.")
        return int(text)

    def days(self, var: str, *, default: int, most: int) -> int:
        """A number of days, at least one. Raises ImproperlyConfigured for anything else."""
        days = self.whole(var, default=default)
        if not 1 <= days <= most:
            raise ImproperlyConfigured(f"{var} is “{days}”; write a number of days from 1 to {most}.")
        return days

    def web_address(self, var: str, *, default: str) -> str:
        """How a site is reached, such as https://portal.example.org. Raises ImproperlyConfigured."""
        text = str(self.str(var, default="")).strip() or default
        try:
            parts = urlsplit(text)
            is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_address = False
        if not is_address or parts.query or parts.fragment or parts.username is not None or set(text) & set(" \t\r\n"):
            raise ImproperlyConfigured(f"{var} is “{text}”; write it like https://portal.example.org.")
        return text
