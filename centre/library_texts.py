"""Texts of libraries that stand on our pages and that our catalogues word themselves.

A library's own Chinese may be missing, or say “you” and “e-mail” in another way than the page around it. Ours come
first, because LOCALE_PATHS is read before the catalogues of apps. They are named here so that extraction finds them.
"""

from typing import Final

from django.utils.translation import gettext_noop

SIGN_IN: Final = (
    gettext_noop("Forgot your password?"),
    gettext_noop("Email"),
    gettext_noop("Email address"),
    gettext_noop("The email address and/or password you specified are not correct."),
    gettext_noop("You must type the same password each time."),
)
ADMIN: Final = (
    gettext_noop("Add %s"),
    gettext_noop("Change %s"),
    gettext_noop("View %s"),
    gettext_noop("Please correct the error below."),
    gettext_noop("Please correct the errors below."),
    gettext_noop("Select a valid choice. That choice is not one of the available choices."),
)
