import numpy as np
import pytest
from mer_engine.backends.card_engine import Copier


@pytest.mark.parametrize("threads", [0, 1, 4])
@pytest.mark.parametrize("rows", [1, 3, 257])
def test_arrays_are_copied_whole_by_any_number_of_threads(threads: int, rows: int) -> None:
    source = np.arange(rows * 10_000, dtype=np.float32).reshape(rows, 10, 1000)
    target = np.zeros((rows + 1, 10, 1000), np.float32)
    Copier(threads).copy(target[:rows], source)
    assert np.array_equal(target[:rows], source)
    assert not target[rows:].any()
