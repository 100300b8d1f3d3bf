from dataclasses import replace

import pytest
from mer_engine import Engine

from realtime_mer.core.config import PipelineConfig, Range
from realtime_mer.errors import UserError


@pytest.mark.parametrize("hop_s", [0.1, 0.2, 0.3, 0.5, 0.7, 1.0])
def test_hops_in_tenths_of_a_second(hop_s: float) -> None:
    assert PipelineConfig(hop_s=hop_s).hop_ticks == round(hop_s * 10)


@pytest.mark.parametrize(
    ("hop_s", "message"),
    [(0.05, "between 0.1 and 1.0"), (1.5, "hop is 1.5 s"), (0.25, "use 0.2 or 0.3")],
)
def test_other_hops_are_errors(hop_s: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        PipelineConfig(hop_s=hop_s)


def test_other_settings_out_of_range_are_errors() -> None:
    with pytest.raises(UserError, match="lag order is 0"):
        PipelineConfig(lag_order=0)
    with pytest.raises(UserError, match="silence level is 3"):
        PipelineConfig(silence_db=3)


def test_the_range_is_music_where_the_model_has_a_distribution(engine: Engine) -> None:
    old = replace(engine.info, distribution={})
    new = replace(old, distribution=dict.fromkeys(("valence", "arousal"), (-0.5, 0.5)))
    assert PipelineConfig().range_of(old) is Range.RAW
    assert PipelineConfig().range_of(new) is Range.MUSIC
    assert PipelineConfig(value_range=Range.RAW).range_of(new) is Range.RAW
    for config in (PipelineConfig(value_range=Range.MUSIC), PipelineConfig(adapt=True)):
        assert config.range_of(new) is Range.MUSIC
        with pytest.raises(UserError, match=f"{old.name} has no distribution of its values"):
            config.range_of(old)


def test_raw_values_do_not_adapt() -> None:
    with pytest.raises(UserError, match="raw values do not adapt"):
        PipelineConfig(value_range=Range.RAW, adapt=True)
