"""Errors of models and backends. Their messages say what to do."""

from __future__ import annotations


class ModelError(Exception):
    """A model file is missing, damaged, or does not fit this front-end or this call.

    The message says what is wrong, with the value, and what to do.
    """


class BackendError(ModelError):
    """A backend is not available here, or did not pass the parity gate."""


class NotFiniteError(BackendError):
    """A backend returned numbers that are not finite."""


class NotCompiledError(BackendError):
    """There is a card, but no engine was compiled for it."""
