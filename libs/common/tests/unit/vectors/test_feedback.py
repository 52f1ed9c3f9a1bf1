import numpy as np
import pytest

from quarry_common.vectors.feedback import SHARE, TEACHERS, helps, scored
from quarry_common.vectors.fusion import FusionWeights

EVEN = FusionWeights(0.5, 0.5)
LEVEL = [1.0, *[0.6] * 9]


@pytest.mark.parametrize(
    ("weights", "scores", "expected"),
    [
        pytest.param(EVEN, LEVEL, True, id="many are nearly as good as the first"),
        pytest.param(EVEN, [0.5, *[0.3] * 19], True, id="whatever the first has"),
        pytest.param(EVEN, [1.0, *[0.59] * 9], False, id="the first stands out"),
        pytest.param(EVEN, LEVEL[:9], False, id="fewer than a page"),
        pytest.param(EVEN, [], False, id="nothing"),
        pytest.param(FusionWeights(0.001, 0.999), LEVEL, False, id="likeness does not count"),
        pytest.param(FusionWeights(1.0, 0.0), LEVEL, False, id="keywords do not count"),
    ],
)
def test_a_second_look_is_taken_where_it_can_help(
    weights: FusionWeights, scores: list[float], expected: bool
) -> None:
    assert helps(weights, scores) is expected


def test_what_is_like_the_first_passages_comes_before_what_is_not() -> None:
    first, like, other = [0.8, 0.6, 0.0], [0.7, 0.7141, 0.0], [0.7, 0.0, 0.7141]
    passages = np.array([first, other, like], dtype=np.float32)

    scores = scored(EVEN, [1.0, 0.0, 0.0], passages, [0.0, 0.0, 0.0])

    assert scores[2] > scores[1]


def test_scores_are_cosines_with_the_query_and_the_first_by_their_rank() -> None:
    passages = np.eye(TEACHERS + 1, dtype=np.float32)
    ranks = np.array([1 / rank for rank in range(1, TEACHERS + 1)] + [0])
    asked = SHARE * ranks / np.linalg.norm(ranks)
    asked[0] += 1

    scores = scored(FusionWeights(0.75, 0.25), passages[0] * 2, passages, [0.0, 1.0, 0.5, 0.0, 0.0, 0.0])

    words = 0.25 * np.array([0.0, 1.0, 0.5, 0.0, 0.0, 0.0])
    assert scores == pytest.approx((0.75 * asked / asked.max() + words).tolist(), abs=1e-6)


def test_scores_stay_between_0_and_1() -> None:
    passages = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]], dtype=np.float32)
    assert scored(EVEN, [1.0, 0.0], passages, [1.0, 0.0, 0.0]) == [1.0, 0.0, 0.0]
    assert scored(EVEN, [0.0, 0.0], np.zeros((2, 2), dtype=np.float32), [1.0, 0.0]) == [0.5, 0.0]
