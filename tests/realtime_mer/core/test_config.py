import pytest

from realtime_mer.core.config import PipelineConfig
from realtime_mer.errors import UserError


@pytest.mark.parametrize("hop_s", [0.1, 0.2, 0.3, 0.5, 0.7, 1.0])
def test_tenths_are_taken(hop_s: float) -> None:
    assert PipelineConfig(hop_s=hop_s).hop_tenths == round(hop_s * 10)


@pytest.mark.parametrize(
    ("hop_s", "sentence"),
    [(0.05, "between 0.1 and 1.0"), (1.5, "hop is 1.5 s"), (0.25, "take 0.2 or 0.3")],
)
def test_other_hops_are_refused(hop_s: float, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        PipelineConfig(hop_s=hop_s)


def test_other_settings_out_of_range() -> None:
    with pytest.raises(UserError, match="lag order is 0"):
        PipelineConfig(lag_order=0)
    with pytest.raises(UserError, match="silence level is 3"):
        PipelineConfig(silence_db=3)
