"""Secrets from environment variables, so that no configuration file has to hold them."""

from __future__ import annotations

import os
import re

from realtime_mer.errors import UserError

_NAME = re.compile("[A-Z][A-Z0-9_]*")


def secret_of(variable: str, setting: str) -> str:
    """Return the value of an environment variable.

    Args:
        variable: its name.
        setting: that has the name, for the message.

    Raises:
        UserError: there is no such variable. Only a name in capitals is shown: anything else may be
            a secret that was written in the place of the name.
    """
    value = os.environ.get(variable)
    if value is None:
        shown = variable if _NAME.fullmatch(variable) else "(not shown, it may be a secret)"
        raise UserError(f"{setting} names {shown}, which is no environment variable; set it")
    return value
