"""Outputs by their kind, and what is told where a package is missing."""

from __future__ import annotations

import sys

import pytest

from realtime_mer.errors import UserError
from realtime_mer.outputs.osc import OscOutput, OscSettings
from realtime_mer.outputs.registry import make_output, settings_class


def test_an_output_is_made_from_its_settings() -> None:
    assert settings_class("osc") is OscSettings
    assert isinstance(make_output(OscSettings(to="127.0.0.1:7000")), OscOutput)


def test_a_missing_package_is_told_and_keeps_no_other_output_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "paho", None)
    monkeypatch.delitem(sys.modules, "realtime_mer.outputs.mqtt", raising=False)
    with pytest.raises(UserError, match=r'the output mqtt needs .*\[mqtt\]"'):
        settings_class("mqtt")
    assert isinstance(make_output(OscSettings(to="127.0.0.1:7000")), OscOutput)
