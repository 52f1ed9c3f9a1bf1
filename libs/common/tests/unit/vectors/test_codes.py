import numpy as np
import pytest

from quarry_common.vectors import codes


def test_a_code_is_short_and_points_where_its_vector_does() -> None:
    random = np.random.default_rng(1)
    for _ in range(50):
        vector = random.normal(size=384).astype(np.float32)
        code = codes.encode(vector)
        decoded = codes.decode(code, 384)

        assert len(code) == 512
        assert decoded is not None
        assert np.linalg.norm(decoded) == pytest.approx(1, abs=1e-5)
        assert float(decoded @ vector) / float(np.linalg.norm(vector)) > 0.9999


@pytest.mark.parametrize("code", ["", "?", "AAAA", codes.encode(np.zeros(4, dtype=np.float32)), "é"])
def test_what_is_no_code_of_a_vector_is_none(code: str) -> None:
    assert codes.decode(code, 4) is None
