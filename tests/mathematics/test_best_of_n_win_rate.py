"""Best-of-n against one more response of the same policy: by listing every choice, and in closed form."""

from itertools import combinations

import numpy as np
import pytest

from infalign.errors import InputError
from infalign.mathematics.winrate import best_of_n_win_rate


@pytest.mark.parametrize("n", [1, 2, 5, 11])
def test_without_ties_the_best_of_n_wins_n_of_n_plus_1_times(n):
    """Of n + 1 responses the highest is among the n candidates with probability n/(n + 1)."""
    scores = np.random.default_rng(n).normal(size=12)
    assert best_of_n_win_rate(scores, scores, n) == pytest.approx(n / (n + 1), abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_every_choice_of_candidates_and_opponent_counts_alike(n):
    rng = np.random.default_rng(7)
    select, judge = rng.integers(0, 3, size=6), rng.integers(0, 4, size=6)  # both with ties
    wins = []
    for opponent in range(6):
        for candidates in combinations([i for i in range(6) if i != opponent], n):
            best = [i for i in candidates if select[i] == max(select[list(candidates)])]
            wins.append(np.mean([(judge[i] > judge[opponent]) + (judge[i] == judge[opponent]) / 2 for i in best]))
    assert best_of_n_win_rate(select, judge, n) == pytest.approx(np.mean(wins), abs=1e-12)


def test_more_candidates_than_others_is_an_error():
    with pytest.raises(InputError, match=r"needs 1 <= n < 3, the responses per prompt, got 3"):
        best_of_n_win_rate([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 3)
