"""What can be wrong with a model, in sentences a user can act on."""

from __future__ import annotations


class ModelError(Exception):
    """A model file is missing, damaged, or does not fit this front-end or this call.

    The message says what was wrong, with the value, and what to do.
    """


class BackendError(ModelError):
    """A backend cannot be had here, or is not allowed to serve."""


class NotCompiledError(BackendError):
    """There is a card, but nothing was compiled for it."""
