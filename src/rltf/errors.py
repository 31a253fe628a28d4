"""The one exception whose message is shown to the user without a traceback."""

from __future__ import annotations


class UserError(ValueError):
    """Something the user can mend. The message is one line: what is wrong, where, and the mend."""
