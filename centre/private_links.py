"""Links that open something for whoever has them: into a team, to a new password. They never stand in a log."""

import logging
import re

PRIVATE = re.compile(r"(/invitations/|/accounts/password/reset/key/)[^/\s\"'&?]+")


def without_private_links(text: str) -> str:
    """The text with the secret part of such addresses left out."""
    return PRIVATE.sub(r"\1…", text)


class WithoutPrivateLinks(logging.Filter):
    """Leaves secrets out of every line that is logged, such as the address of a page that failed."""

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        shown = without_private_links(said)
        if shown != said:
            record.msg, record.args = shown, ()
        return True
