import numpy as np
import pytest
from mer_engine.banded import BandedMatrix


@pytest.mark.parametrize("columns", [1, 32, 96, 205])
def test_a_product_equals_that_of_the_dense_matrix(columns: int) -> None:
    rng = np.random.default_rng(0)
    row = np.arange(400)[:, None]
    centre = 2.0 * np.arange(columns)
    matrix = np.maximum(0.0, 1.0 - np.abs(row - centre) / 5.0).astype(np.float32)
    matrix[:, 40:80] = 0.0
    x = rng.standard_normal((7, 400)).astype(np.float32)
    out = np.full((7, columns + 3), 9.0, dtype=np.float32)
    BandedMatrix(matrix).product(x, out[:, :columns])
    np.testing.assert_allclose(out[:, :columns], x @ matrix, atol=1e-5)
    assert (out[:, columns:] == 9.0).all()
